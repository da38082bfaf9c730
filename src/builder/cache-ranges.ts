/** What a layer's int8 KV cache is multiplied by, [kv heads × head size] each. */
export interface CacheScales {
  key: Float32Array;
  value: Float32Array;
}

/** The largest number of int8 that has a negative. */
const levelMax = 127;
const scaleMin = 1e-9;

/**
 * How far a layer's keys and values reach, by element of each head, over all texts that were read. What reaches
 * further later is cut off there: room for it would cost all others more than it saves the few.
 *
 * Two elements of a key that are rotated together share one range, how far they reach as a pair: the texts are
 * shorter than the context, and at positions that none of them had, each of the two can be as large as both.
 */
export class CacheRanges {
  readonly #headSize: number;
  /** Elements of each head that are rotated, the first half with the second. */
  readonly #rotated: number;
  readonly #key: Float32Array;
  readonly #value: Float32Array;

  constructor(kvHeads: number, headSize: number, rotated: number) {
    this.#headSize = headSize;
    this.#rotated = rotated;
    this.#key = new Float32Array(kvHeads * headSize);
    this.#value = new Float32Array(kvHeads * headSize);
  }

  /** Both are [kv heads, tokens, head size], as a text has left them in the cache. */
  add(key: Float32Array, value: Float32Array): void {
    const half = this.#rotated / 2;
    this.#widen(this.#key, key, (head, i) => {
      if (i >= this.#rotated) return Math.abs(key[head + i]!);
      return Math.hypot(key[head + (i % half)]!, key[head + (i % half) + half]!);
    });
    this.#widen(this.#value, value, (head, i) => Math.abs(value[head + i]!));
  }

  get scales(): CacheScales {
    // Zero has to have a scale, too.
    const scale = (range: number) => Math.max(range / levelMax, scaleMin);
    return { key: this.#key.map(scale), value: this.#value.map(scale) };
  }

  #widen(ranges: Float32Array, cached: Float32Array, reach: (head: number, i: number) => number): void {
    const size = this.#headSize;
    const tokens = cached.length / ranges.length;
    for (let at = 0; at < cached.length; at += size) {
      const first = Math.floor(at / (tokens * size)) * size;
      for (let i = 0; i < size; i++) ranges[first + i] = Math.max(ranges[first + i]!, reach(at, i));
    }
  }
}
