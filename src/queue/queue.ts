import type { PromptRequest } from '../contract/prompt.ts';

export interface QueueBounds {
  /** Requests that wait; the one that runs is not counted. */
  depth_max: number;
  /** Sum of their payloads: what the queue may cost in memory. */
  bytes_max: number;
}

/** A place in the queue. `turn` resolves when the request may run; `leave` gives the place or the turn up. */
export interface Place {
  /** Requests that go first, counting those that run. */
  readonly position: number;
  readonly turn: Promise<void>;
  leave(): void;
}

interface Entry {
  request: PromptRequest;
  start(): void;
}

const rank = { high: 0, normal: 1, low: 2 } as const;

/**
 * Who runs next: the highest priority, then the longest wait. Bounded by count and by bytes.
 *
 * INVARIANTS: at most `concurrency` requests hold a turn; a free turn and a waiting request do not
 * exist together; `leave` is idempotent and frees exactly what its place holds.
 */
export class RequestQueue {
  readonly #bounds: QueueBounds;
  readonly #concurrency: number;
  readonly #waiting: Entry[] = [];
  readonly #running = new Set<Entry>();
  #bytes = 0;

  constructor(bounds: QueueBounds, concurrency = 1) {
    this.#bounds = bounds;
    this.#concurrency = concurrency;
  }

  get depth(): number {
    return this.#waiting.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Null where a bound is reached. */
  enter(request: PromptRequest): Place | null {
    const free = this.#running.size < this.#concurrency;
    if (
      !free &&
      (this.#waiting.length >= this.#bounds.depth_max || this.#bytes + request.bytes > this.#bounds.bytes_max)
    )
      return null;
    return this.enterAgain(request);
  }

  /** For a request that was admitted before: the bounds held then, and it must not be turned down now. */
  enterAgain(request: PromptRequest): Place {
    const { promise, resolve } = Promise.withResolvers<void>();
    const entry: Entry = { request, start: resolve };
    const ahead = this.#waiting.findIndex((other) => rank[other.request.priority] > rank[request.priority]);
    const index = ahead === -1 ? this.#waiting.length : ahead;
    this.#waiting.splice(index, 0, entry);
    this.#bytes += request.bytes;
    const position = index + this.#running.size;
    this.#advance();
    return { position, turn: promise, leave: () => this.#leave(entry) };
  }

  #leave(entry: Entry): void {
    const index = this.#waiting.indexOf(entry);
    if (index !== -1) {
      this.#waiting.splice(index, 1);
      this.#bytes -= entry.request.bytes;
    } else if (this.#running.delete(entry)) this.#advance();
  }

  #advance(): void {
    while (this.#running.size < this.#concurrency) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#bytes -= next.request.bytes;
      this.#running.add(next);
      next.start();
    }
  }
}
