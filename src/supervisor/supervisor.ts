import type { ErrorCode } from '../contract/errors.ts';
import type {
  DoneMessage,
  EngineInfo,
  EngineOptions,
  FromEngine,
  GenerateMessage,
  ModelSource,
} from '../ipc/messages.ts';
import { type BackoffBounds, backoffMs } from '../lib/backoff.ts';
import { monotonicMs } from '../lib/clock.ts';
import { SlmdError } from '../lib/errors.ts';
import { EngineProcess } from './engine-process.ts';
import type { ExitReason } from './exit-reason.ts';

export interface SupervisorOptions {
  /** The engine's entry point, a file that Node can run. */
  entry: string;
  model: ModelSource;
  engine: EngineOptions;
  /** No sign of life for so long during a generation: the engine is stopped. */
  stall_ms: number;
  /** The same for a load, which shows no sign of life before its end. */
  load_max_ms: number;
  restart: BackoffBounds;
}

export interface SupervisorEvents {
  ready(info: EngineInfo): void;
  /** The engine is gone or could not load; the next attempt is after `retry_ms`. */
  down(code: ErrorCode, message: string, retryMs: number): void;
  /** The engine ends in good order, because another model takes its place. */
  changing?(): void;
  /** A model cannot be loaded: what to load instead, or null where there is nothing else. */
  unloadable?(why: string): ModelSource | null;
  garbage(): void;
  /** A line of the engine's own, for the log. */
  said(line: string): void;
}

export type GenerateJob = Omit<GenerateMessage, 'type' | 'key'>;

interface Attempt {
  key: number;
  onTokens(text: string): void;
  resolve(done: DoneMessage): void;
  reject(error: SlmdError<ErrorCode>): void;
}

/** What an end is called: by the process, or by what is known better here. */
type Verdict = Omit<ExitReason, 'code'> & { code: ErrorCode };

interface Waiter {
  resolve(): void;
  reject(error: SlmdError<ErrorCode>): void;
}

/** An engine that answered, or lived this long, was a good one: the next restart waits little again. */
const stableMs = 60_000;
/** Whoever waits for an engine that ended this often without becoming ready is told so. */
const failuresBeforeGivingUp = 3;

/**
 * Owns the engine process: starts it, waits until it is ready, runs one generation at a time on it,
 * notices when it dies or makes no progress, and starts the next.
 *
 * INVARIANTS: at most one process and one attempt exist; every attempt ends in exactly one of resolve
 * and reject; a message that carries another attempt's key is dropped.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #events: SupervisorEvents;
  #model: ModelSource;
  #process: EngineProcess | null = null;
  #info: EngineInfo | null = null;
  #attempt: Attempt | null = null;
  #waiters: Waiter[] = [];
  /** Why the last load failed, until one succeeds. */
  #loadFailure: string | null = null;
  #stalled = false;
  #failures = 0;
  /** Ends in a row that came before the engine was ready. */
  #failedLoads = 0;
  #lastKey = 0;
  #startedAt = 0;
  #progressedAt = 0;
  #watchdog: NodeJS.Timeout | null = null;
  #restartTimer: NodeJS.Timeout | null = null;
  /** The process is ending so that one with another model can start. */
  #changing = false;
  /** Another model is wanted, and a generation is under way. */
  #changeWhenIdle = false;
  #stopping = true;

  constructor(options: SupervisorOptions, events: SupervisorEvents) {
    this.#options = options;
    this.#events = events;
    this.#model = options.model;
  }

  get info(): EngineInfo | null {
    return this.#info;
  }

  /** When the engine, or the way to the next one, last got on: `monotonicMs()`. */
  get progressed_at(): number {
    return this.#progressedAt;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  start(): void {
    if (!this.#stopping) return;
    this.#stopping = false;
    this.#spawn();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    await this.#process?.stop();
    this.#settleWaiters(new SlmdError('model_not_ready', 'the engine is stopped'));
  }

  /** From here on engines load this model: at once, or after the generation that is under way. */
  use(model: ModelSource): void {
    this.#model = model;
    if (this.#stopping) return;
    this.#loadFailure = null;
    this.#failures = 0;
    this.#failedLoads = 0;
    if (this.#attempt === null) this.#change();
    else this.#changeWhenIdle = true;
  }

  /**
   * Runs one generation. Waits for an engine that is starting.
   *
   * @param signal ends it early; it then resolves with `finish_reason: 'cancelled'`
   * @throws SlmdError with the code that belongs into the result
   */
  async generate(
    job: GenerateJob,
    onTokens: (text: string) => void,
    signal: AbortSignal,
  ): Promise<DoneMessage> {
    do await this.#ready(signal);
    while (!this.#isReady);
    const engine = this.#process;
    if (engine === null || this.#attempt !== null) throw new Error('a generation needs an idle engine');
    const key = ++this.#lastKey;
    const cancel = () => engine.send({ type: 'cancel', key });
    try {
      return await new Promise<DoneMessage>((resolve, reject) => {
        this.#attempt = { key, onTokens, resolve, reject };
        this.#progress();
        engine.send({ type: 'generate', key, ...job });
        signal.addEventListener('abort', cancel);
        if (signal.aborted) cancel(); // Between the engine being ready and now.
      });
    } finally {
      signal.removeEventListener('abort', cancel);
      this.#attempt = null;
      this.#disarm();
      if (this.#changeWhenIdle) this.#change();
    }
  }

  /** Whoever asks meanwhile waits for the next engine: that this one ends is no failure. */
  #change(): void {
    this.#changeWhenIdle = false;
    if (this.#stopping || this.#changing) return;
    this.#events.changing?.();
    if (this.#process === null) {
      if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
      this.#spawn();
    } else {
      this.#changing = true;
      void this.#process.stop();
    }
  }

  /** Whether there is another model, where this one cannot be loaded. */
  #fallBack(why: string): boolean {
    const other = this.#events.unloadable?.(why) ?? null;
    if (other === null) return false;
    this.#model = other;
    this.#failures = 0;
    this.#failedLoads = 0;
    return true;
  }

  /** An engine that ends for another model is known until it is gone: a result may still have to name it. */
  get #isReady(): boolean {
    return this.#info !== null && !this.#changing;
  }

  #ready(signal: AbortSignal): Promise<void> {
    if (this.#isReady) return Promise.resolve();
    if (this.#loadFailure !== null)
      return Promise.reject(new SlmdError('model_not_ready', this.#loadFailure));
    return new Promise((resolve, reject) => {
      const waiter = { resolve, reject };
      const end = () => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(new SlmdError('cancelled', 'ended before the engine was ready'));
      };
      this.#waiters.push(waiter);
      signal.addEventListener('abort', end);
      if (signal.aborted) end();
    });
  }

  #spawn(): void {
    this.#startedAt = monotonicMs();
    this.#stalled = false;
    this.#process = new EngineProcess(this.#options.entry, {
      message: (message) => this.#onMessage(message),
      garbage: () => this.#events.garbage(),
      said: (line) => this.#events.said(line),
      exit: (reason) => this.#onExit(reason),
    });
    this.#progress();
    const { dir: model_dir, trust } = this.#model;
    this.#process.send({ type: 'load', model_dir, options: this.#options.engine, trust });
  }

  #onMessage(message: FromEngine): void {
    // It is being ended: what it still says must not start another generation on it.
    if (this.#stalled || this.#changing) return;
    switch (message.type) {
      case 'ready':
        this.#disarm();
        this.#info = message.info;
        this.#loadFailure = null;
        this.#failedLoads = 0;
        this.#events.ready(message.info);
        this.#settleWaiters(null);
        return;
      case 'load_failed':
        if (this.#fallBack(message.message)) {
          this.#change();
          return;
        }
        this.#loadFailure = message.message;
        this.#settleWaiters(new SlmdError('model_not_ready', message.message));
        void this.#process?.stop();
        return;
    }
    if (message.key !== this.#attempt?.key) return;
    this.#progress();
    if (message.type === 'tokens') this.#attempt.onTokens(message.text);
    if (message.type === 'done') {
      this.#failures = 0;
      this.#attempt.resolve(message);
    }
    if (message.type === 'failed') this.#attempt.reject(new SlmdError(message.code, message.message));
  }

  #onExit(exit: ExitReason): void {
    this.#disarm();
    this.#progressedAt = monotonicMs();
    const wasReady = this.#info !== null;
    this.#process = null;
    this.#info = null;
    if (this.#stopping) {
      this.#attempt?.reject(new SlmdError('engine_crashed', 'the engine was stopped'));
      return;
    }
    if (this.#changing) {
      this.#changing = false;
      this.#spawn();
      return;
    }
    const { code, message, detail } = this.#verdict(exit);
    if (monotonicMs() - this.#startedAt > stableMs) this.#failures = 0;
    const retryMs = backoffMs(this.#failures++, this.#options.restart, Math.random());
    this.#attempt?.reject(new SlmdError(code, detail));
    if (!wasReady && ++this.#failedLoads >= failuresBeforeGivingUp) {
      if (this.#fallBack(message)) {
        this.#spawn();
        return;
      }
      this.#settleWaiters(new SlmdError(code, message));
    }
    this.#events.down(code, message, retryMs);
    this.#restartTimer = setTimeout(() => this.#spawn(), retryMs);
  }

  #verdict(exit: ExitReason): Verdict {
    const by = (code: ErrorCode, message: string) => ({ code, message, detail: message });
    if (this.#loadFailure !== null) return by('model_not_ready', this.#loadFailure);
    if (this.#stalled) return by('engine_stalled', `the engine made no progress for ${this.#patienceMs} ms`);
    return exit;
  }

  /** A sign of life: the watchdog starts over. */
  #progress(): void {
    this.#disarm();
    this.#progressedAt = monotonicMs();
    this.#watchdog = setTimeout(() => {
      this.#stalled = true;
      void this.#process?.stop();
    }, this.#patienceMs);
  }

  get #patienceMs(): number {
    return this.#attempt === null ? this.#options.load_max_ms : this.#options.stall_ms;
  }

  #disarm(): void {
    if (this.#watchdog !== null) clearTimeout(this.#watchdog);
    this.#watchdog = null;
  }

  #settleWaiters(error: SlmdError<ErrorCode> | null): void {
    for (const waiter of this.#waiters.splice(0)) {
      if (error === null) waiter.resolve();
      else waiter.reject(error);
    }
  }
}
