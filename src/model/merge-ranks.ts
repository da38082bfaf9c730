/**
 * Which two pieces of a word are joined before which others, in BPE: three arrays of numbers.
 *
 * The library that tokenizes keeps a text in JSON for each pair in a `Map`, and the pairs besides: of a vocabulary of 151k
 * that is 40 MB, of which this is 3. It asks for a rank by that text, and is given it as a `Map` would.
 */
export class MergeRanks {
  readonly #ids: ReadonlyMap<string, number>;
  /** By rank. */
  readonly #firsts: Int32Array;
  readonly #seconds: Int32Array;
  /** Rank + 1 of a pair at its hash, or at the next place that is free; 0 for none. At most half are taken. */
  readonly #places: Int32Array;

  /** @param ids has every token of the merges, and each has an id of its own */
  constructor(merges: readonly (string | readonly string[])[], ids: ReadonlyMap<string, number>) {
    this.#ids = ids;
    this.#firsts = new Int32Array(merges.length);
    this.#seconds = new Int32Array(merges.length);
    this.#places = new Int32Array(2 ** Math.ceil(Math.log2(2 * merges.length + 1)));
    for (const [rank, merge] of merges.entries()) {
      const [first, second] = typeof merge === 'string' ? merge.split(' ', 2) : merge;
      const [firstId, secondId] = [ids.get(first!)!, ids.get(second!)!];
      this.#firsts[rank] = firstId;
      this.#seconds[rank] = secondId;
      // The last of two that are alike counts, as in a `Map`.
      this.#places[this.#placeOf(firstId, secondId)] = rank + 1;
    }
  }

  /** @param pair two tokens in JSON */
  get(pair: string): number | undefined {
    const [first, second] = JSON.parse(pair) as [string, string];
    const [firstId, secondId] = [this.#ids.get(first), this.#ids.get(second)];
    if (firstId === undefined || secondId === undefined) return undefined;
    const found = this.#places[this.#placeOf(firstId, secondId)]!;
    return found === 0 ? undefined : found - 1;
  }

  /** Where the pair is, or would be. */
  #placeOf(first: number, second: number): number {
    const mask = this.#places.length - 1;
    let place = (Math.imul(first, 0x9e3779b1) ^ Math.imul(second, 0x85ebca6b)) >>> 0;
    place = (place ^ (place >>> 15)) & mask;
    for (; ; place = (place + 1) & mask) {
      const found = this.#places[place]!;
      if (found === 0) return place;
      if (this.#firsts[found - 1] === first && this.#seconds[found - 1] === second) return place;
    }
  }
}
