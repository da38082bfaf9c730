import {
  answered,
  type EarlyEnd,
  endedWaiting,
  failed,
  givenUp,
  type Origin,
  refused,
} from './contract/compose.ts';
import { type ErrorCode, errorCodes, wireError } from './contract/errors.ts';
import type { PromptRequest, Refusal } from './contract/prompt.ts';
import type { Result } from './contract/result.ts';
import type { Topics } from './contract/topics.ts';
import type { Delivery, Post } from './delivery.ts';
import type { DoneMessage } from './ipc/messages.ts';
import type { AcceptedEntry, Journal } from './journal/journal.ts';
import { sinceMs } from './journal/moment.ts';
import type { Routing } from './journal/record.ts';
import { monotonicMs, timerMaxMs } from './lib/clock.ts';
import { SlmdError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { Sparing } from './lib/sparing.ts';
import { whenAborted } from './lib/when-aborted.ts';
import { type InboxOptions, type IncomingMessage, readMessage } from './mqtt/inbox.ts';
import { TokenStream } from './mqtt/token-stream.ts';
import type { Admission, Admitted } from './queue/admission.ts';
import type { Place } from './queue/queue.ts';
import { EngineLost } from './supervisor/engine-lost.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import type { Telemetry } from './telemetry/telemetry.ts';

export interface ServiceParts {
  inbox: InboxOptions;
  topics: Topics;
  journal: Journal;
  admission: Admission;
  supervisor: Supervisor;
  telemetry: Telemetry;
  post: Post;
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

/** Refusals that have a line each; a flood has hundreds a second, and telemetry counts them by their codes. */
const refusalLines = { max: 20, interval_ms: 10_000 };

/** Why a request ends early: for good, or for this process. */
type End = EarlyEnd | 'draining';

/** A request between its admission and its result. */
interface Live {
  /** Aborting it ends the request early. */
  end: AbortController;
  /** Resolves when the request would survive; rejects when it was refused after all. */
  durable: Promise<void>;
}

/**
 * The story of a request: read → admit → journal → acknowledge → wait → run → fix the result → publish
 * → measure.
 *
 * INVARIANTS: a prompt is acknowledged when it is journaled, or when the broker has its refusal, and not
 * before (so what comes while the device stops is left to the next process); every journaled request ends in exactly one result, after a restart if need be; an id that is
 * known is never computed again; a result is journaled before it is published, and published until the
 * broker has it. A refusal is not remembered: the same id may come again, when the queue has room or the
 * request has been mended.
 */
export class Service {
  readonly #parts: ServiceParts;
  readonly #live = new Map<string, Live>();
  readonly #refusalLines: Sparing;
  #draining = false;
  #empty: (() => void)[] = [];

  constructor(parts: ServiceParts) {
    this.#parts = parts;
    this.#refusalLines = new Sparing(refusalLines.max, refusalLines.interval_ms, (count) =>
      parts.log.info({ count, interval_ms: refusalLines.interval_ms }, 'refused others besides'),
    );
  }

  /** Takes any message of the broker's, and never throws: whatever it is, it is answered or dropped with a reason. */
  handle(message: IncomingMessage, acknowledge: () => void): void {
    const { inbox, telemetry, log } = this.#parts;
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
        this.#live.get(reading.id)?.end.abort('cancelled' satisfies EarlyEnd);
        acknowledge();
        break;
      case 'ack':
        this.#parts.delivery.clear(reading.id);
        acknowledge();
        break;
      case 'ignored':
        log.debug({ why: reading.why }, 'ignored a message');
        acknowledge();
    }
  }

  /** Goes on with what an earlier process has left: publishes what was not delivered, runs what was not run. */
  resume(): void {
    const { accepted, undelivered } = this.#parts.journal.pending();
    for (const { entry } of undelivered) this.#publish(entry.result, entry.routing);
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
    const empty =
      this.#live.size === 0 ? Promise.resolve() : new Promise<void>((resolve) => this.#empty.push(resolve));
    const limit = setTimeout(() => {
      for (const { end } of this.#live.values()) end.abort('draining' satisfies End);
    }, limitMs);
    await empty;
    clearTimeout(limit);
  }

  async #serve(request: PromptRequest, kept: boolean, acknowledge: () => void): Promise<void> {
    const { journal, admission, telemetry } = this.#parts;
    if (this.#repeated(request, acknowledge)) return;
    // Left with the broker, it is there for the next process.
    if (this.#draining && kept) return;
    if (this.#draining)
      return this.#refuse(
        { ...request, error: wireError('draining', 'the device is stopping') },
        acknowledge,
      );
    const admitted = admission.enter(request);
    if ('error' in admitted) return this.#refuse({ ...request, error: admitted.error }, acknowledge);

    const durable = journal.accept(request);
    const signal = this.#open(request, durable);
    try {
      await durable;
    } catch (error) {
      admitted.place.leave();
      this.#close(request.id);
      const { message } = error as Error;
      return this.#refuse({ ...request, error: wireError('storage_full', message) }, acknowledge);
    }
    acknowledge();
    telemetry.counters.accepted++;
    this.#announce(request, admitted);
    await this.#answer(request, admitted.place, 1, signal);
  }

  /** An accepted request of an earlier process: its clocks go on, its attempts count. */
  async #resume(entry: AcceptedEntry): Promise<void> {
    const { at, request: stored, attempts } = entry;
    const received_at = monotonicMs() - sinceMs(at);
    const deadline_at =
      stored.deadline_at === null ? null : received_at + stored.deadline_at - stored.received_at;
    const request = { ...stored, received_at, deadline_at };
    const signal = this.#open(request, Promise.resolve());
    const { admission, attempts_max, journal, origin } = this.#parts;
    if (attempts >= attempts_max) {
      await this.#finish(givenUp(request, attempts_max, journal.memoryRanOut(entry), origin()), request);
      return this.#close(request.id);
    }
    // What an earlier process was at when it ended may have ended it.
    const admitted = admission.enterAgain(request, attempts > 0);
    this.#announce(request, admitted);
    await this.#answer(request, admitted.place, attempts + 1, signal);
  }

  #announce({ id }: PromptRequest, { position, eta_ms }: Admitted): void {
    const { post, topics } = this.#parts;
    post.event(topics.event(id), { id, event: 'accepted', position, eta_ms });
  }

  async #answer(request: PromptRequest, place: Place, attempt: number, signal: AbortSignal): Promise<void> {
    const result = await this.#work(request, place, attempt, signal);
    if (result !== null) await this.#finish(result, request);
    this.#close(request.id);
  }

  /** Waits for the turn and runs; whatever happens becomes a result, but for what the next process does. */
  async #work(
    request: PromptRequest,
    place: Place,
    first: number,
    signal: AbortSignal,
  ): Promise<Result | null> {
    const { attempts_max, origin, log } = this.#parts;
    let turn = place.turn;
    /** Attempts that count for nobody, because others had a part in them. */
    let shared = 0;
    try {
      for (let attempt = first; ; attempt++) {
        const early = await Promise.race([turn, whenAborted<End>(signal)]);
        if (early === 'expired') this.#parts.admission.ended(request);
        if (early !== undefined) return endedEarly(request, early, attempt - 1, origin());
        try {
          return await this.#run(request, place, { attempt, counted: attempt - shared }, signal);
        } catch (error) {
          const { code, message } = error as SlmdError<ErrorCode>;
          if (!(error instanceof SlmdError) || !(code in errorCodes)) throw error;
          if (signal.aborted) return endedEarly(request, signal.reason as End, attempt, origin());
          const suspect = error instanceof EngineLost && error.shared;
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
    const { supervisor, journal, post, topics, telemetry, origin } = this.#parts;
    const { id, messages, max_tokens, sampling, stop, response_format } = request;
    const began = monotonicMs();
    const waitsForModel = supervisor.info === null;
    await journal.started(id, counted);
    post.event(topics.event(id), { id, event: 'started', attempt });
    const stream = new TokenStream({ id, attempt, send: (batch) => post.tokens(topics.token(id), batch) });
    const onTokens = request.stream ? (text: string) => stream.push(text) : () => undefined;
    try {
      const job = { messages, max_tokens, sampling, stop, response_format };
      const done = await supervisor.generate(job, onTokens, signal);
      const early = done.finish_reason === 'cancelled' ? (signal.reason as End) : null;
      if (!waitsForModel) this.#learn(request, done, began, place.shared);
      if (early !== 'draining') return answered(request, done, attempt, early, origin());
      // An attempt that was interrupted in good order says nothing against the prompt.
      await journal.started(id, counted - 1);
      return null;
    } finally {
      stream.flush();
      telemetry.counters.token_batches_dropped += stream.dropped;
    }
  }

  #learn(request: PromptRequest, done: DoneMessage, began: number, shared: boolean): void {
    const { stamps, usage, finish_reason } = done;
    this.#parts.admission.learn(request, shared, {
      service_ms: monotonicMs() - began,
      prefill_ms: stamps.first_token_at - stamps.tokenized_at,
      decode_ms: stamps.last_token_at - stamps.first_token_at,
      completion_tokens: usage.completion_tokens,
      complete: finish_reason !== 'cancelled',
    });
  }

  /** The message is acknowledged when the broker has the refusal: else a crash between would be silence. */
  #refuse(refusal: Refusal, acknowledge: () => void): void {
    const { origin, telemetry, log } = this.#parts;
    if (this.#repeated(refusal, acknowledge)) return;
    if (this.#refusalLines.admits()) log.info({ id: refusal.id, code: refusal.error.code }, 'refused');
    const result = refused(refusal, origin());
    this.#parts.delivery.result(JSON.stringify(result), refusal, {
      retain: false,
      fleeting: true,
      delivered: acknowledge,
    });
    telemetry.record(result);
  }

  /** A known id is never computed again: its stored result is published, or it is still under way. */
  #repeated({ id, reply_to, traceparent }: Refusal | PromptRequest, acknowledge: () => void): boolean {
    const known = this.#parts.journal.find(id);
    const live = this.#live.get(id);
    const again = { retain: true, fleeting: true, delivered: acknowledge };
    if (known?.state === 'finished')
      this.#parts.delivery.result(known.result, { reply_to, traceparent }, again);
    else live?.durable.then(acknowledge, () => undefined);
    return known !== null || live !== undefined;
  }

  /** The answer is fixed before anybody sees it. */
  async #finish(result: Result, { reply_to, traceparent }: PromptRequest): Promise<void> {
    const { journal, telemetry, log } = this.#parts;
    const bytes = JSON.stringify(result);
    await journal.finish(result.id, bytes, { reply_to, traceparent });
    this.#publish(bytes, { reply_to, traceparent });
    telemetry.record(result);
    const { id, status, error, timings, usage } = result;
    log.info({ id, status, code: error?.code, ...timings, ...usage }, 'ended');
  }

  #publish(bytes: string, routing: Routing): void {
    const { id } = JSON.parse(bytes) as Result;
    this.#parts.delivery.result(bytes, routing, {
      retain: true,
      fleeting: false,
      delivered: () => void this.#parts.journal.delivered(id).then(() => this.sweep()),
    });
  }

  /** From here on the request can be cancelled, and its deadline counts. */
  #open(request: PromptRequest, durable: Promise<void>): AbortSignal {
    const end = new AbortController();
    this.#live.set(request.id, { end, durable });
    const delay = request.deadline_at === null ? Infinity : request.deadline_at - monotonicMs();
    // Nothing waits in a bounded queue for longer than a timer can.
    if (delay <= timerMaxMs) {
      const timer = setTimeout(() => end.abort('expired' satisfies EarlyEnd), Math.max(0, delay));
      end.signal.addEventListener('abort', () => clearTimeout(timer));
    }
    return end.signal;
  }

  #close(id: string): void {
    // Aborting what is over only clears its deadline's timer.
    this.#live.get(id)?.end.abort();
    this.#live.delete(id);
    if (this.#live.size === 0) for (const resolve of this.#empty.splice(0)) resolve();
  }
}

/** The result of a request that ended before its answer; none where the next process goes on with it. */
function endedEarly(request: PromptRequest, early: End, attempt: number, origin: Origin): Result | null {
  return early === 'draining' ? null : endedWaiting(request, early, attempt, origin);
}
