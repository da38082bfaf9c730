import { type WireError, wireError } from '../contract/errors.ts';
import type { PromptRequest } from '../contract/prompt.ts';
import { monotonicMs } from '../lib/clock.ts';
import { type Estimate, estimate, type Work, workMs } from './estimate.ts';
import { PaceMeter, type PaceSample } from './pace-meter.ts';
import type { Ahead, Place, RequestQueue } from './queue.ts';

export interface Admitted {
  place: Place;
  /** Requests that go first, counting those that run. */
  position: number;
  /** Until its answer is complete; null until an answer has been measured. */
  eta_ms: number | null;
}

/** Before anything has been measured, a full queue is worth another look after so long. */
const retryUnmeasuredMs = 1000;

/**
 * Who may wait: whoever finds room, and whose deadline the queue in front of it leaves within reach.
 * What is refused has cost no computing.
 */
export class Admission {
  readonly #queue: RequestQueue;
  /** How answers get on that have the engine to themselves, and how those that share it. */
  readonly #meters = { alone: new PaceMeter(), shared: new PaceMeter() };
  /** What was said of a request when it was admitted. */
  readonly #expected = new WeakMap<PromptRequest, { eta_ms: number; at: number; meter: PaceMeter }>();

  constructor(queue: RequestQueue) {
    this.#queue = queue;
  }

  enter(request: PromptRequest): Admitted | { error: WireError } {
    if (!this.#queue.hasRoom(request)) return { error: this.#full(request) };
    const ahead = this.#queue.ahead(request);
    const estimated = this.#estimate(request, ahead);
    const error = this.#unmeetable(request, ahead, estimated);
    return error === null ? this.#admit(request, ahead, estimated) : { error };
  }

  /** For a request that was admitted before, by an earlier process. */
  enterAgain(request: PromptRequest, alone = false): Admitted {
    const ahead = this.#queue.ahead(request);
    return this.#admit(request, ahead, this.#estimate(request, ahead), alone);
  }

  /**
   * Takes an answer into the measure.
   *
   * @param shared whether others were answered at the same time
   */
  learn(request: PromptRequest, shared: boolean, sample: Omit<PaceSample, keyof Work>): void {
    const { bytes, max_tokens } = request;
    this.#meters[shared ? 'shared' : 'alone'].learn({ bytes, max_tokens, ...sample }, monotonicMs());
    this.ended(request);
  }

  /** A request has had its answer, or its deadline has passed: so long it took at least. */
  ended(request: PromptRequest): void {
    const expected = this.#expected.get(request);
    this.#expected.delete(request);
    if (expected !== undefined) expected.meter.learnSlip(monotonicMs() - expected.at, expected.eta_ms);
  }

  #admit(request: PromptRequest, ahead: Ahead[], estimated: Estimate | null, alone = false): Admitted {
    const meter = this.#meterFor(ahead);
    if (estimated !== null)
      this.#expected.set(request, { eta_ms: estimated.eta_ms, at: monotonicMs(), meter });
    const eta_ms = estimated === null ? null : Math.round(estimated.eta_ms);
    return { place: this.#queue.enter(request, alone), position: ahead.length, eta_ms };
  }

  #estimate(request: PromptRequest, ahead: Ahead[]): Estimate | null {
    const works = ahead.map(({ request, running_ms }) => ({ work: request, running_ms }));
    const { pace } = this.#meterFor(ahead);
    if (pace !== null) return estimate(request, works, pace, this.#queue.concurrency);
    // Sharing has not been measured. It is no slower than taking turns; how late that can be is not known.
    const { pace: other } = this.#meters.alone;
    return other === null ? null : { ...estimate(request, works, other, 1), needs_ms: null };
  }

  /** Of the answers that are like what a request will meet. */
  #meterFor(ahead: readonly Ahead[]): PaceMeter {
    return this.#meters[ahead.length > 0 && this.#queue.concurrency > 1 ? 'shared' : 'alone'];
  }

  #unmeetable(
    { deadline_at }: PromptRequest,
    ahead: readonly Ahead[],
    estimated: Estimate | null,
  ): WireError | null {
    const now = monotonicMs();
    const { needs_ms = null, needs_alone_ms = null } = estimated ?? {};
    if (deadline_at === null || needs_ms === null || needs_alone_ms === null) return null;
    if (!this.#meterFor(ahead).trusted(now)) return null;
    const left = deadline_at - now;
    // Past already: that is `expired`, and is found at once.
    if (left <= 0 || needs_ms <= left) return null;
    const message = `an answer takes ${Math.ceil(needs_ms)} ms now, the deadline is in ${Math.ceil(left)} ms`;
    // The queue is shorter by then; where the request alone takes too long no waiting helps.
    return wireError('deadline_unmeetable', message, needs_alone_ms <= left ? needs_ms - left : undefined);
  }

  #full(request: PromptRequest): WireError {
    const { concurrency } = this.#queue;
    const pace = this.#meters[concurrency > 1 ? 'shared' : 'alone'].pace ?? this.#meters.alone.pace;
    const retryMs = pace === null ? retryUnmeasuredMs : Math.max(1, workMs(request, pace) / concurrency);
    const { depth, bytes } = this.#queue;
    return wireError('queue_full', `${depth} prompts of ${bytes} bytes are waiting`, retryMs);
  }
}
