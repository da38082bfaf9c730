/** What the daemon remembers of a request id. */
export type Entry = { state: 'accepted' } | { state: 'finished'; result: string };

/**
 * The record of each request and its result, by id: what makes a repeated id idempotent.
 *
 * This one lives in memory, so it forgets with the process; its methods are asynchronous because a
 * durable one must be awaited at the same places.
 *
 * INVARIANTS: an accepted id stays until it is finished; at most `finished_max` results are kept,
 * the oldest go first.
 */
export class MemoryJournal {
  readonly #entries = new Map<string, Entry>();
  readonly #finishedMax: number;
  #finished = 0;

  constructor(finishedMax: number) {
    this.#finishedMax = finishedMax;
  }

  find(id: string): Entry | null {
    return this.#entries.get(id) ?? null;
  }

  /** Resolves when the request would survive. */
  async accept(id: string): Promise<void> {
    this.forget(id);
    this.#entries.set(id, { state: 'accepted' });
  }

  /** Resolves when the result's content is fixed. */
  async finish(id: string, result: string): Promise<void> {
    this.forget(id);
    this.#entries.delete(id); // Re-inserted at the end: insertion order is the order of forgetting.
    this.#entries.set(id, { state: 'finished', result });
    this.#finished++;
    for (const [oldest, entry] of this.#entries) {
      if (this.#finished <= this.#finishedMax) break;
      if (entry.state === 'finished') this.forget(oldest);
    }
  }

  /** Drops the stored result of an id. */
  forget(id: string): void {
    if (this.#entries.get(id)?.state === 'finished' && this.#entries.delete(id)) this.#finished--;
  }
}
