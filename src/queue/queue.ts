import type { PromptRequest } from '../contract/prompt.ts';
import { monotonicMs } from '../lib/clock.ts';

export interface QueueBounds {
  /** Requests that wait; the one that runs is not counted. */
  depth_max: number;
  /** Sum of their payloads: what the queue may cost in memory. */
  bytes_max: number;
}

/** A place in the queue. `turn` resolves when the request may run; `leave` gives the place or the turn up. */
export interface Place {
  readonly turn: Promise<void>;
  leave(): void;
}

/** A request that goes before another; `running_ms` is how long it has had its turn, 0 while it waits. */
export interface Ahead {
  request: PromptRequest;
  running_ms: number;
}

interface Entry {
  request: PromptRequest;
  rank: number;
  round: number;
  started_at: number | null;
  start(): void;
}

const rank = { high: 0, normal: 1, low: 2 } as const;
/** The last eighth of a queue is for requesters that have nothing in it: a flood cannot keep them out. */
const reservedFraction = 8;

/**
 * Who runs next: the highest priority first; among equals the requesters take turns, each with its own
 * prompts in their order. Bounded by count and by bytes.
 *
 * A turn of every requester is a round. Whoever comes joins the round after the one that is being served,
 * or the one after its own last, so that nobody joins a round that has begun: a flood of newcomers
 * holds up those that wait for one prompt each at most.
 *
 * INVARIANTS: at most `concurrency` requests hold a turn; a free turn and a waiting request do not
 * exist together; the waiting are sorted by rank, round and arrival; `leave` is idempotent and frees
 * exactly what its place holds.
 */
export class RequestQueue {
  readonly #bounds: QueueBounds;
  readonly #concurrency: number;
  readonly #waiting: Entry[] = [];
  readonly #running = new Set<Entry>();
  /** The round that is being served, by rank. */
  readonly #rounds = [0, 0, 0];
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
    return this.hasRoom(request) ? this.enterAgain(request) : null;
  }

  hasRoom({ requester, bytes }: PromptRequest): boolean {
    if (this.#running.size < this.#concurrency) return true;
    const { depth_max, bytes_max } = this.#bounds;
    const newcomer = !this.#waiting.some(({ request }) => request.requester === requester);
    const reserved = newcomer ? 0 : Math.floor(depth_max / reservedFraction);
    const reservedBytes = reserved === 0 ? 0 : Math.floor(bytes_max / reservedFraction);
    return this.#waiting.length < depth_max - reserved && this.#bytes + bytes <= bytes_max - reservedBytes;
  }

  /** Those that would go first if a request entered now, in the order of their turns; first those that run. */
  ahead(request: PromptRequest): Ahead[] {
    const now = monotonicMs();
    const running = [...this.#running].map(({ request, started_at }) => ({
      request,
      running_ms: now - (started_at ?? now),
    }));
    const waiting = this.#waiting.slice(0, this.#indexFor(request, this.#roundFor(request)));
    return [...running, ...waiting.map((entry) => ({ request: entry.request, running_ms: 0 }))];
  }

  /** For a request that was admitted before: the bounds held then, and it must not be turned down now. */
  enterAgain(request: PromptRequest): Place {
    const { promise, resolve } = Promise.withResolvers<void>();
    const round = this.#roundFor(request);
    const entry: Entry = {
      request,
      rank: rank[request.priority],
      round,
      started_at: null,
      start: resolve,
    };
    this.#waiting.splice(this.#indexFor(request, round), 0, entry);
    this.#bytes += request.bytes;
    this.#advance();
    return { turn: promise, leave: () => this.#leave(entry) };
  }

  #roundFor({ priority, requester }: PromptRequest): number {
    const last = this.#waiting.findLast(
      (entry) => entry.rank === rank[priority] && entry.request.requester === requester,
    );
    return 1 + Math.max(this.#rounds[rank[priority]] ?? 0, last?.round ?? 0);
  }

  #indexFor({ priority }: PromptRequest, round: number): number {
    const later = (other: Entry) =>
      other.rank > rank[priority] || (other.rank === rank[priority] && other.round > round);
    const index = this.#waiting.findIndex(later);
    return index === -1 ? this.#waiting.length : index;
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
      this.#rounds[next.rank] = next.round;
      next.started_at = monotonicMs();
      this.#running.add(next);
      next.start();
    }
  }
}
