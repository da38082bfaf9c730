import type { Sequence } from '../onnx/decoder.ts';
import { PrefixCache } from './prefix-cache.ts';
import type { PrefixStore } from './prefix-store.ts';

interface Row {
  cache: PrefixCache;
  busy: boolean;
  /** Counts up with each generation that began: the least is the one that was used longest ago. */
  usedAt: number;
}

/**
 * The rows of the KV cache: one for each generation that runs.
 *
 * INVARIANT: a row is held by one generation, from `take` to `giveBack`.
 */
export class Rows {
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly #rows: readonly Row[];
  #taken = 0;

  /** @param wholeRuns see `PrefixCache` */
  constructor(
    sequences: readonly [Sequence, ...Sequence[]],
    store: PrefixStore | null = null,
    wholeRuns = false,
  ) {
    this.contextLength = sequences[0].contextLength;
    this.vocabularySize = sequences[0].vocabularySize;
    this.#rows = sequences.map((sequence) => ({
      cache: new PrefixCache(sequence, store, wholeRuns),
      busy: false,
      usedAt: 0,
    }));
  }

  get count(): number {
    return this.#rows.length;
  }

  /** How many are held. */
  get busyCount(): number {
    return this.#rows.filter(({ busy }) => busy).length;
  }

  /**
   * Takes the free row that holds most of a prompt. Of several, the one nearest to those that are in use,
   * because rows between them are run with them; then the one whose prompt came longest ago.
   *
   * @throws where none is free: the caller has not counted
   */
  take(prompt: readonly number[]): PrefixCache {
    const busy = [...this.#rows.keys()].filter((i) => this.#rows[i]?.busy);
    const free = [...this.#rows.entries()].filter(([, { busy }]) => !busy);
    const ranked = free.map(([i, row]) => ({
      row,
      rank: [-row.cache.reusable(prompt), Math.min(...busy.map((at) => Math.abs(at - i))), row.usedAt],
    }));
    const [best] = ranked.sort((a, b) => compare(a.rank, b.rank));
    if (best === undefined) throw new Error('a generation needs a free row');
    best.row.busy = true;
    best.row.usedAt = ++this.#taken;
    return best.row.cache;
  }

  giveBack(cache: PrefixCache): void {
    const row = this.#rows.find((candidate) => candidate.cache === cache);
    if (row !== undefined) row.busy = false;
  }
}

/** By the first number that differs. */
function compare(a: readonly number[], b: readonly number[]): number {
  const i = a.findIndex((value, at) => value !== b[at]);
  return i === -1 ? 0 : a[i]! - b[i]!;
}
