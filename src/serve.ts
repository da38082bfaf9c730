import { answered, endedWaiting, failed, givenUp, type Origin, refused } from './contract/compose.ts';
import { type ErrorCode, errorCodes, type WireError, wireError } from './contract/errors.ts';
import type { PromptRequest, Refusal } from './contract/prompt.ts';
import type { Result } from './contract/result.ts';
import type { Delivery } from './delivery.ts';
import type { AcceptedEntry } from './journal/entries.ts';
import type { Journal } from './journal/journal.ts';
import { sinceMs } from './journal/moment.ts';
import type { Routing } from './journal/record.ts';
import { monotonicMs } from './lib/clock.ts';
import { SlmdError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { RateLimit } from './lib/rate-limit.ts';
import { whenAborted } from './lib/when-aborted.ts';
import { type End, LiveRequests } from './live-requests.ts';
import { type InboxOptions, type IncomingMessage, readMessage } from './mqtt/inbox.ts';
import { TokenStream } from './mqtt/token-stream.ts';
import type { Admission, Admitted } from './queue/admission.ts';
import { paceOf } from './queue/pace-meter.ts';
import type { Place } from './queue/queue.ts';
import { EngineLost } from './supervisor/engine-lost.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import type { Telemetry } from './telemetry/telemetry.ts';

export interface ServiceParts {
  inbox: InboxOptions;
  journal: Journal;
  admission: Admission;
  supervisor: Supervisor;
  telemetry: Telemetry;
  delivery: Delivery;
  log: Logger;
  /** A prompt that took the engine, or the whole device, down this often is given up. */
  attempts_max: number;
  origin(): Origin;
}

/** The engine ended under these, through no fault that is known to be the prompt's. */
const worthAnotherAttempt: ReadonlySet<ErrorCode> = new Set([
  'engine_crashed',
  'engine_stalled',
  'out_of_memory',
]);

/** How many refusals have a line of the log each: a flood has hundreds a second, and telemetry counts them all. */
const refusalLines = { max: 20, interval_ms: 10_000 };

/**
 * The story of a request: read → admit → journal → acknowledge → wait → run → fix the result → publish
 * → measure.
 *
 * INVARIANTS: a prompt is acknowledged when it is journaled, or when the broker has its refusal, and not before;
 * so one that comes while the device stops is left to the next process. Every journaled request ends in exactly
 * one result, after a restart if need be. An id that is known is never computed again. A result is journaled
 * before it is published, and published until the broker has it. A refusal is not remembered: the same id may
 * come again, when the queue has room or the request has been mended.
 */
export class Service {
  readonly #parts: ServiceParts;
  readonly #live = new LiveRequests();
  readonly #refusalLines: RateLimit;
  #draining = false;

  constructor(parts: ServiceParts) {
    this.#parts = parts;
    this.#refusalLines = new RateLimit(refusalLines.max, refusalLines.interval_ms, (count) =>
      parts.log.info({ count, interval_ms: refusalLines.interval_ms }, 'refused others besides'),
    );
  }

  /** Takes any message of the broker's, and never throws: whatever it is, it is answered or dropped with a reason. */
  handle(message: IncomingMessage, acknowledge: () => void): void {
    const { inbox, telemetry, delivery, log } = this.#parts;
    const reading = readMessage(message, inbox);
    switch (reading.kind) {
      case 'prompt':
        telemetry.counters.received++;
        void this.#serve(reading.request, message.kept, acknowledge);
        break;
      case 'refusal':
        telemetry.counters.received++;
        this.#refuse(reading.refusal, acknowledge);
        break;
      case 'cancel':
        this.#live.end(reading.id, 'cancelled');
        acknowledge();
        break;
      case 'ack':
        delivery.clearFor(reading.id, acknowledge);
        break;
      case 'ignored':
        log.debug({ why: reading.why }, 'ignored a message');
        acknowledge();
    }
  }

  /** Goes on with what an earlier process has left: publishes what was not delivered, runs what was not run. */
  resume(): void {
    const { accepted, undelivered } = this.#parts.journal.pending();
    for (const { id, entry } of undelivered) this.#publish(id, entry.result, entry.routing);
    for (const entry of accepted) void this.#resume(entry);
  }

  /** Lets results go whose time has passed. */
  async sweep(): Promise<void> {
    for (const id of await this.#parts.journal.sweep()) this.#parts.delivery.clear(id);
  }

  /**
   * Takes no more prompts, and resolves when those it has are answered or `limitMs` has passed. What is
   * not answered by then is in the journal, and the next process goes on with it.
   */
  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    const limit = setTimeout(() => this.#live.endAll('draining'), limitMs);
    await this.#live.empty();
    clearTimeout(limit);
  }

  async #serve(request: PromptRequest, kept: boolean, acknowledge: () => void): Promise<void> {
    const { journal, admission, telemetry } = this.#parts;
    const refuse = (error: WireError) => this.#refuse({ ...request, error }, acknowledge);
    if (this.#repeated(request, acknowledge, kept)) return;
    // Left with the broker, it is there for the next process.
    if (this.#draining && kept) return;
    if (this.#draining) return refuse(wireError('draining', 'the device is stopping'));
    const admitted = admission.enter(request);
    if ('error' in admitted) return refuse(admitted.error);

    const durable = journal.accept(request);
    const signal = this.#live.open(request, durable);
    try {
      await durable;
    } catch (error) {
      admitted.place.leave();
      this.#live.close(request.id);
      return refuse(wireError('storage_full', (error as Error).message));
    }
    acknowledge();
    telemetry.counters.accepted++;
    this.#announce(request, admitted);
    await this.#answer(request, admitted.place, 1, signal);
  }

  /** An accepted request of an earlier process: its clocks go on, its attempts count. */
  async #resume(entry: AcceptedEntry): Promise<void> {
    const { admission, attempts_max, journal, origin } = this.#parts;
    const { at, request: stored, attempts } = entry;
    const received_at = monotonicMs() - sinceMs(at);
    const deadline_at =
      stored.deadline_at === null ? null : received_at + stored.deadline_at - stored.received_at;
    const request = { ...stored, received_at, deadline_at };
    const signal = this.#live.open(request);
    if (attempts >= attempts_max) {
      await this.#finish(givenUp(request, attempts_max, journal.memoryRanOut(entry), origin()), request);
      return this.#live.close(request.id);
    }
    // What an earlier process was at when it ended may have ended it.
    const admitted = admission.enterAgain(request, attempts > 0);
    this.#announce(request, admitted);
    await this.#answer(request, admitted.place, attempts + 1, signal);
  }

  #announce({ id }: PromptRequest, { position, eta_ms }: Admitted): void {
    this.#parts.delivery.event({ id, event: 'accepted', position, eta_ms });
  }

  async #answer(request: PromptRequest, place: Place, attempt: number, signal: AbortSignal): Promise<void> {
    const result = await this.#work(request, place, attempt, signal);
    if (result !== null) await this.#finish(result, request);
    this.#live.close(request.id);
  }

  /** Waits for the turn and runs, again where that may help; null where the next process goes on with it. */
  async #work(
    request: PromptRequest,
    place: Place,
    first: number,
    signal: AbortSignal,
  ): Promise<Result | null> {
    const { admission, attempts_max, origin, log } = this.#parts;
    let turn = place.turn;
    /** Attempts that count for nobody, because others had a part in them. */
    let shared = 0;
    try {
      for (let attempt = first; ; attempt++) {
        const early = await Promise.race([turn, whenAborted<End>(signal)]);
        if (early === 'expired') admission.ended(request);
        if (early !== undefined) return endedEarly(request, early, attempt - 1, origin());
        try {
          return await this.#run(request, place, { attempt, counted: attempt - shared }, signal);
        } catch (thrown) {
          const { code, message } = operatingError(thrown);
          if (signal.aborted) return endedEarly(request, signal.reason as End, attempt, origin());
          const suspect = thrown instanceof EngineLost && thrown.shared;
          if (suspect) shared++;
          if (attempt - shared >= attempts_max || !worthAnotherAttempt.has(code))
            return failed(request, code, message, attempt, origin());
          log.warn({ id: request.id, code, attempt }, 'an attempt failed; the next follows');
          // Alone the next time, so that a prompt which ends the engine takes its neighbours along once.
          if (suspect) turn = place.again();
        }
      }
    } finally {
      place.leave();
    }
  }

  async #run(
    request: PromptRequest,
    place: Place,
    { attempt, counted }: { attempt: number; counted: number },
    signal: AbortSignal,
  ): Promise<Result | null> {
    const { supervisor, journal, delivery, admission, telemetry, origin } = this.#parts;
    const { id, messages, max_tokens, sampling, stop, response_format } = request;
    const began = monotonicMs();
    const waitsForModel = supervisor.info === null;
    await journal.started(id, counted);
    delivery.event({ id, event: 'started', attempt });
    const stream = new TokenStream({ id, attempt, send: (batch) => delivery.tokens(batch) });
    const onTokens = request.stream ? (text: string) => stream.push(text) : () => undefined;
    try {
      const job = { messages, max_tokens, sampling, stop, response_format };
      const done = await supervisor.generate(job, onTokens, signal);
      const early = done.finish_reason === 'cancelled' ? (signal.reason as End) : null;
      if (!waitsForModel) admission.learn(request, place.shared, paceOf(done, monotonicMs() - began));
      if (early !== 'draining') return answered(request, done, attempt, early, origin());
      // An attempt that was interrupted in good order says nothing against the prompt.
      await journal.started(id, counted - 1);
      return null;
    } finally {
      stream.flush();
      telemetry.counters.token_batches_dropped += stream.dropped;
    }
  }

  /** The answer is fixed before anybody sees it. */
  async #finish(result: Result, { reply_to, traceparent }: PromptRequest): Promise<void> {
    const { journal, telemetry, log } = this.#parts;
    const { id, status, error, timings, usage } = result;
    const bytes = JSON.stringify(result);
    await journal.finish(id, bytes, { reply_to, traceparent });
    this.#publish(id, bytes, { reply_to, traceparent });
    telemetry.record(result);
    log.info({ id, status, code: error?.code, ...timings, ...usage }, 'ended');
  }

  #publish(id: string, bytes: string, routing: Routing): void {
    const { journal, delivery } = this.#parts;
    delivery.result(id, bytes, routing, () => void journal.delivered(id).then(() => this.sweep()));
  }

  /** The message is acknowledged when the broker has the refusal: else a crash between would be silence. */
  #refuse(refusal: Refusal, acknowledge: () => void): void {
    const { origin, delivery, telemetry, log } = this.#parts;
    if (this.#repeated(refusal, acknowledge)) return;
    if (this.#refusalLines.admits()) log.info({ id: refusal.id, code: refusal.error.code }, 'refused');
    const result = refused(refusal, origin());
    delivery.refusal(result.id, JSON.stringify(result), refusal, acknowledge);
    telemetry.record(result);
  }

  /** A known id is never computed again: its stored result is published, or it is still under way. */
  #repeated(prompt: Refusal | PromptRequest, acknowledge: () => void, kept = false): boolean {
    const { journal, delivery } = this.#parts;
    const known = journal.find(prompt.id);
    const live = this.#live.durable(prompt.id);
    if (known?.state === 'finished') delivery.resultAgain(prompt.id, known.result, prompt, acknowledge);
    // Where the one before it is refused after all, it comes again, if the broker keeps it.
    else live?.then(acknowledge, kept ? () => undefined : acknowledge);
    return known !== null || live !== null;
  }
}

/** The result of a request that ended before its answer; none where the next process goes on with it. */
function endedEarly(request: PromptRequest, early: End, attempt: number, origin: Origin): Result | null {
  return early === 'draining' ? null : endedWaiting(request, early, attempt, origin);
}

/** What a result can say went wrong; anything else is a broken invariant, and is thrown on. */
function operatingError(thrown: unknown): SlmdError<ErrorCode> {
  if (!(thrown instanceof SlmdError) || !(thrown.code in errorCodes)) throw thrown;
  return thrown as SlmdError<ErrorCode>;
}
