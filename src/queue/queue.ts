import type { PromptRequest } from '../contract/prompt.ts';
import { monotonicMs } from '../lib/clock.ts';

export interface QueueBounds {
  /** Requests that wait; those that run are not counted. */
  depth_max: number;
  /** Sum of their payloads: what the queue may cost in memory. */
  bytes_max: number;
}

/** A place in the queue. `turn` resolves when the request may run; `leave` gives the place or the turn up. */
export interface Place {
  readonly turn: Promise<void>;
  /** Whether anybody else has had a turn at the same time. */
  readonly shared: boolean;
  /** Gives the turn back for one that is shared with nobody; those that wait for such a turn go first. */
  again(): Promise<void>;
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
  /** It runs with nobody else. */
  alone: boolean;
  shared: boolean;
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
 * INVARIANTS: no turn is given while `concurrency` requests hold one, or one holds its turn alone; else a
 * free turn and a waiting request do not exist together, but for one that waits until it is alone; the
 * waiting are sorted by rank, round and arrival; `leave` is idempotent and frees exactly what its place holds.
 */
export class RequestQueue {
  readonly #bounds: QueueBounds;
  #concurrency = 1;
  readonly #waiting: Entry[] = [];
  /** Those that had a turn and want one alone. */
  readonly #again: Entry[] = [];
  readonly #running = new Set<Entry>();
  /** The round that is being served, by rank. */
  readonly #rounds = [0, 0, 0];
  #bytes = 0;

  constructor(bounds: QueueBounds) {
    this.#bounds = bounds;
  }

  /** How many may run at a time from now on. */
  set concurrency(concurrency: number) {
    this.#concurrency = concurrency;
    this.#advance();
  }

  get concurrency(): number {
    return this.#concurrency;
  }

  get depth(): number {
    return this.#waiting.length + this.#again.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Whether the bounds let it in. */
  hasRoom({ requester, bytes }: PromptRequest): boolean {
    if (this.#running.size + this.#again.length < this.#concurrency) return true;
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
    const before = [...this.#again, ...waiting].map((entry) => ({ request: entry.request, running_ms: 0 }));
    return [...running, ...before];
  }

  /**
   * Takes a place whatever the bounds are: for a request that `hasRoom` let in, or that was let in before a
   * restart and must not be turned down now.
   *
   * @param alone its turn is shared with nobody
   */
  enter(request: PromptRequest, alone = false): Place {
    const { promise, resolve } = Promise.withResolvers<void>();
    const round = this.#roundFor(request);
    const entry: Entry = {
      request,
      rank: rank[request.priority],
      round,
      started_at: null,
      alone,
      shared: false,
      start: resolve,
    };
    this.#waiting.splice(this.#indexFor(request, round), 0, entry);
    this.#bytes += request.bytes;
    this.#advance();
    return {
      turn: promise,
      get shared() {
        return entry.shared;
      },
      again: () => this.#takeAgain(entry),
      leave: () => this.#leave(entry),
    };
  }

  #takeAgain(entry: Entry): Promise<void> {
    if (!this.#running.delete(entry)) throw new Error('only a turn can be given back');
    const { promise, resolve } = Promise.withResolvers<void>();
    Object.assign(entry, { started_at: null, alone: true, shared: false, start: resolve });
    this.#again.push(entry);
    this.#advance();
    return promise;
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
    } else if (this.#again.includes(entry)) this.#again.splice(this.#again.indexOf(entry), 1);
    else if (!this.#running.delete(entry)) return;
    // Who leaves may have been what others waited for: a turn, or their place behind one that runs alone.
    this.#advance();
  }

  #advance(): void {
    for (;;) {
      const next = this.#again[0] ?? this.#waiting[0];
      if (next === undefined || !this.#mayStart(next)) return;
      if (this.#again[0] === next) this.#again.shift();
      else this.#begin(next);
      next.started_at = monotonicMs();
      this.#running.add(next);
      if (this.#running.size > 1) for (const entry of this.#running) entry.shared = true;
      next.start();
    }
  }

  #mayStart({ alone }: Entry): boolean {
    if (this.#running.size === 0) return true;
    const [first] = this.#running;
    return !alone && !first?.alone && this.#running.size < this.#concurrency;
  }

  /** It waits no more, and its round is the one that is served. */
  #begin(entry: Entry): void {
    this.#waiting.shift();
    this.#bytes -= entry.request.bytes;
    this.#rounds[entry.rank] = entry.round;
  }
}
