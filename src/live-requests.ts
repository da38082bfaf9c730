import type { EarlyEnd } from './contract/compose.ts';
import type { PromptRequest } from './contract/prompt.ts';
import { monotonicMs, timerMaxMs } from './lib/clock.ts';

/** Why a request ends early: for good, or for this process. */
export type End = EarlyEnd | 'draining';

interface Live {
  /** Aborting it, with an `End`, ends the request early. */
  end: AbortController;
  durable: Promise<void>;
}

/** The requests between their admission and their result: each can be ended early, by its deadline too. */
export class LiveRequests {
  readonly #live = new Map<string, Live>();
  #empty: (() => void)[] = [];

  /**
   * From here on the request can be ended, and its deadline counts.
   *
   * @param durable resolves when the request would survive; rejects when it was refused after all
   * @returns aborts with an `End`
   */
  open({ id, deadline_at }: PromptRequest, durable = Promise.resolve()): AbortSignal {
    const end = new AbortController();
    this.#live.set(id, { end, durable });
    const delay = deadline_at === null ? Number.POSITIVE_INFINITY : deadline_at - monotonicMs();
    // Nothing waits in a bounded queue for longer than a timer can.
    if (delay <= timerMaxMs) {
      const timer = setTimeout(() => end.abort('expired' satisfies End), Math.max(0, delay));
      end.signal.addEventListener('abort', () => clearTimeout(timer));
    }
    return end.signal;
  }

  /** The request is over. */
  close(id: string): void {
    // Aborting what is over only clears its deadline's timer.
    this.#live.get(id)?.end.abort();
    this.#live.delete(id);
    if (this.#live.size === 0) for (const resolve of this.#empty.splice(0)) resolve();
  }

  /** What `open` was told of a request; null where it is not live. */
  durable(id: string): Promise<void> | null {
    return this.#live.get(id)?.durable ?? null;
  }

  end(id: string, why: End): void {
    this.#live.get(id)?.end.abort(why);
  }

  endAll(why: End): void {
    for (const { end } of this.#live.values()) end.abort(why);
  }

  /** Resolves when no request is live. */
  empty(): Promise<void> {
    if (this.#live.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#empty.push(resolve));
  }
}
