import {
  answered,
  type EarlyEnd,
  endedWaiting,
  failed,
  type Origin,
  refused,
  tooLarge,
} from './contract/compose.ts';
import { type ErrorCode, errorCodes, wireError } from './contract/errors.ts';
import type { PromptRequest, Refusal, ReplyTo } from './contract/prompt.ts';
import type { RequestEvent, Result, TokenBatch } from './contract/result.ts';
import type { Topics } from './contract/topics.ts';
import type { MemoryJournal } from './journal/memory-journal.ts';
import { timerMaxMs } from './lib/clock.ts';
import { SlmdError } from './lib/errors.ts';
import type { Logger } from './lib/logger.ts';
import { type InboxOptions, type IncomingMessage, readMessage } from './mqtt/inbox.ts';
import type { Parcel } from './mqtt/outbox.ts';
import { TokenStream } from './mqtt/token-stream.ts';
import type { Place, RequestQueue } from './queue/queue.ts';
import type { Supervisor } from './supervisor/supervisor.ts';
import type { Telemetry } from './telemetry/telemetry.ts';

/** The ways out of the device. */
export interface Post {
  /** At least once, whatever happens to the connection. */
  deliver(parcel: Parcel): void;
  /** QoS 1, if there is a connection now. */
  event(topic: string, event: RequestEvent): void;
  /** QoS 0, if there is a connection now; false where there is none. */
  tokens(topic: string, batch: TokenBatch): boolean;
}

export interface ServiceParts {
  inbox: InboxOptions;
  topics: Topics;
  journal: MemoryJournal;
  queue: RequestQueue;
  supervisor: Supervisor;
  telemetry: Telemetry;
  post: Post;
  log: Logger;
  /** A prompt that took the engine down this often is given up. */
  attempts_max: number;
  origin(): Origin;
}

/** The engine ended under these, through no fault that is known to be the prompt's. */
const worthAnotherAttempt: ReadonlySet<ErrorCode> = new Set([
  'engine_crashed',
  'engine_stalled',
  'out_of_memory',
]);

/**
 * The story of a request: read → admit → accept → wait → run → fix the result → publish → measure.
 *
 * INVARIANTS: every request that is accepted ends in exactly one result; an id that is known is never
 * computed again; an answer is journaled before it is published. A refusal is not remembered: the
 * same id may come again, when the queue has room or the request has been mended.
 */
export class Service {
  readonly #parts: ServiceParts;
  /** Requests between acceptance and result, by id: aborting one ends it early. */
  readonly #live = new Map<string, AbortController>();
  #draining = false;
  #empty: (() => void)[] = [];

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  /** Takes any message of the broker's, and never throws: whatever it is, it is answered or dropped with a reason. */
  handle(message: IncomingMessage): void {
    const { inbox, journal, telemetry, log } = this.#parts;
    const reading = readMessage(message, inbox);
    switch (reading.kind) {
      case 'prompt':
        telemetry.counters.received++;
        void this.#serve(reading.request);
        break;
      case 'refusal':
        telemetry.counters.received++;
        this.#refuse(reading.refusal);
        break;
      case 'cancel':
        this.#live.get(reading.id)?.abort('cancelled' satisfies EarlyEnd);
        break;
      case 'ack':
        journal.forget(reading.id);
        break;
      case 'ignored':
        log.debug({ why: reading.why }, 'ignored a message');
    }
  }

  /** Takes no more prompts, and resolves when those it has are answered or `limitMs` has passed. */
  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    const empty =
      this.#live.size === 0 ? Promise.resolve() : new Promise<void>((resolve) => this.#empty.push(resolve));
    const limit = setTimeout(() => {
      for (const end of this.#live.values()) end.abort('draining' satisfies EarlyEnd);
    }, limitMs);
    await empty;
    clearTimeout(limit);
  }

  async #serve(request: PromptRequest): Promise<void> {
    const { journal, queue, telemetry, post, topics, log } = this.#parts;
    if (this.#repeated(request)) return;
    if (this.#draining)
      return this.#refuse({ ...request, error: wireError('draining', 'the device is stopping') });
    const place = queue.enter(request);
    if (place === null) return this.#refuse({ ...request, error: this.#queueFull() });

    const end = this.#open(request);
    await journal.accept(request.id);
    telemetry.counters.accepted++;
    const eta = telemetry.serviceMs();
    post.event(topics.event(request.id), {
      id: request.id,
      event: 'accepted',
      position: place.position,
      eta_ms: eta === null ? null : Math.round(eta * (place.position + 1)),
    });

    const result = await this.#work(request, place, end.signal);
    await this.#finish(result, request);
    this.#close(request.id);
    log.info(
      { id: request.id, status: result.status, code: result.error?.code, ...result.timings, ...result.usage },
      'ended',
    );
  }

  /** Waits for the turn and runs; whatever happens becomes a result. */
  async #work(request: PromptRequest, place: Place, signal: AbortSignal): Promise<Result> {
    const { attempts_max, origin, log } = this.#parts;
    try {
      const early = await Promise.race([place.turn, whenAborted(signal)]);
      if (early !== undefined) return endedWaiting(request, early, origin());
      for (let attempt = 1; ; attempt++) {
        try {
          return await this.#run(request, attempt, signal);
        } catch (error) {
          const { code, message } = error as SlmdError<ErrorCode>;
          if (!(error instanceof SlmdError) || !(code in errorCodes)) throw error;
          if (signal.aborted) return endedWaiting(request, signal.reason as EarlyEnd, origin());
          if (attempt >= attempts_max || !worthAnotherAttempt.has(code))
            return failed(request, code, message, attempt, origin());
          log.warn({ id: request.id, code, attempt }, 'an attempt failed; the next follows');
        }
      }
    } finally {
      place.leave();
    }
  }

  async #run(request: PromptRequest, attempt: number, signal: AbortSignal): Promise<Result> {
    const { supervisor, post, topics, telemetry, origin } = this.#parts;
    const { id, messages, max_tokens, sampling, stop } = request;
    post.event(topics.event(id), { id, event: 'started', attempt });
    const stream = new TokenStream({ id, attempt, send: (batch) => post.tokens(topics.token(id), batch) });
    const onTokens = request.stream ? (text: string) => stream.push(text) : () => undefined;
    try {
      const done = await supervisor.generate({ messages, max_tokens, sampling, stop }, onTokens, signal);
      const early = done.finish_reason === 'cancelled' ? (signal.reason as EarlyEnd) : null;
      return answered(request, done, attempt, early, origin());
    } finally {
      stream.flush();
      telemetry.counters.token_batches_dropped += stream.dropped;
    }
  }

  #refuse(refusal: Refusal): void {
    const { origin, telemetry, log } = this.#parts;
    if (this.#repeated(refusal)) return;
    log.info({ id: refusal.id, code: refusal.error.code }, 'refused');
    const result = refused(refusal, origin());
    this.#publish(result, JSON.stringify(result), refusal.reply_to, refusal.traceparent);
    telemetry.record(result);
  }

  /** A known id is never computed again: its stored result is published, or it is still under way. */
  #repeated({ id, reply_to, traceparent }: Refusal | PromptRequest): boolean {
    const known = this.#parts.journal.find(id);
    if (known?.state === 'finished')
      this.#publish(JSON.parse(known.result) as Result, known.result, reply_to, traceparent);
    return known !== null || this.#live.has(id);
  }

  /** The answer is fixed before anybody sees it. */
  async #finish(result: Result, { reply_to, traceparent }: PromptRequest): Promise<void> {
    const { journal, telemetry } = this.#parts;
    const bytes = JSON.stringify(result);
    await journal.finish(result.id, bytes);
    this.#publish(result, bytes, reply_to, traceparent);
    telemetry.record(result);
  }

  #publish(result: Result, payload: string, replyTo: ReplyTo | null, traceparent: string | null): void {
    const { post, topics } = this.#parts;
    const parcel = {
      payload,
      retain: false,
      ...(traceparent === null ? {} : { user_properties: { traceparent } }),
      smaller: (bytesMax: number | null) =>
        JSON.stringify(tooLarge(result, Buffer.byteLength(payload), bytesMax)),
    };
    post.deliver({ ...parcel, topic: topics.result(result.id) });
    if (replyTo !== null) post.deliver({ ...parcel, topic: replyTo.topic, correlation: replyTo.correlation });
  }

  #queueFull() {
    const { queue, telemetry } = this.#parts;
    const retryMs = telemetry.serviceMs() ?? 1000;
    return wireError('queue_full', `${queue.depth} prompts of ${queue.bytes} bytes are waiting`, retryMs);
  }

  /** From here on the request can be cancelled, and its deadline counts. */
  #open(request: PromptRequest): AbortController {
    const end = new AbortController();
    this.#live.set(request.id, end);
    const delay = request.deadline_at === null ? Infinity : request.deadline_at - request.received_at;
    // Nothing waits in a bounded queue for longer than a timer can.
    if (delay <= timerMaxMs) {
      const timer = setTimeout(() => end.abort('expired' satisfies EarlyEnd), delay);
      end.signal.addEventListener('abort', () => clearTimeout(timer));
    }
    return end;
  }

  #close(id: string): void {
    // Aborting what is over only clears its deadline's timer.
    this.#live.get(id)?.abort();
    this.#live.delete(id);
    if (this.#live.size === 0) for (const resolve of this.#empty.splice(0)) resolve();
  }
}

function whenAborted(signal: AbortSignal): Promise<EarlyEnd> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason as EarlyEnd);
    else signal.addEventListener('abort', () => resolve(signal.reason as EarlyEnd), { once: true });
  });
}
