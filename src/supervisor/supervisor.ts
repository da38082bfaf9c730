import type { ErrorCode } from '../contract/errors.ts';
import type {
  DoneMessage,
  EngineInfo,
  EngineOptions,
  FromEngine,
  GenerateJob,
  ModelSource,
} from '../ipc/messages.ts';
import { type BackoffBounds, backoffMs } from '../lib/backoff.ts';
import { monotonicMs } from '../lib/clock.ts';
import { SlmdError } from '../lib/errors.ts';
import { EngineLost } from './engine-lost.ts';
import { EngineProcess } from './engine-process.ts';
import type { ExitReason } from './exit-reason.ts';
import { Waiters } from './waiters.ts';

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

interface Attempt {
  /** Whether another ran at some time while it did: what the engine said may quote either. */
  overlapped: boolean;
  /** When it last showed a sign of life: `monotonicMs()`. */
  progressed_at: number;
  onTokens(text: string): void;
  resolve(done: DoneMessage): void;
  reject(error: SlmdError<ErrorCode>): void;
}

/** What an end is called: by the process, or by what is known better here. */
type Verdict = Omit<ExitReason, 'code'> & { code: ErrorCode };

/** An engine that answered, or lived this long, was a good one: the next restart waits little again. */
const stableMs = 60_000;
/** A timer that is this late says more of this process than of the engine. */
const heldUpMs = 1000;
/** Whoever waits for an engine that ended this often without becoming ready is told so. */
const failuresBeforeGivingUp = 3;

/**
 * Owns the engine process: starts it, waits until it is ready, runs as many generations at a time on it as
 * it has rows, notices when it dies or one of them makes no progress, and starts the next.
 *
 * INVARIANTS: at most one process exists, and no more attempts than it has rows; every attempt ends in
 * exactly one of resolve and reject; a message that carries the key of no attempt is dropped.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #events: SupervisorEvents;
  #model: ModelSource;
  #process: EngineProcess | null = null;
  #info: EngineInfo | null = null;
  readonly #attempts = new Map<number, Attempt>();
  /** For an engine that is ready, and a row of it. */
  readonly #waiters = new Waiters();
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
  /** Another model is wanted, and generations are under way. */
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
    this.#waiters.settle(new SlmdError('model_not_ready', 'the engine is stopped'));
  }

  /** From here on engines load this model: at once, or after the generation that is under way. */
  use(model: ModelSource): void {
    this.#model = model;
    if (this.#stopping) return;
    this.#loadFailure = null;
    this.#failures = 0;
    this.#failedLoads = 0;
    if (this.#attempts.size === 0) this.#change();
    else this.#changeWhenIdle = true;
  }

  /**
   * Runs a generation. Waits for an engine that is starting, and for a row of it.
   *
   * @param signal ends it early; it then resolves with `finish_reason: 'cancelled'`
   * @throws SlmdError with the code that belongs into the result; `EngineLost` where the engine ended under it
   */
  async generate(
    job: GenerateJob,
    onTokens: (text: string) => void,
    signal: AbortSignal,
  ): Promise<DoneMessage> {
    do await this.#free(signal);
    while (!this.#isFree);
    const engine = this.#process;
    if (engine === null) throw new Error('a generation needs an engine');
    const key = ++this.#lastKey;
    const cancel = () => engine.send({ type: 'cancel', key });
    try {
      return await new Promise<DoneMessage>((resolve, reject) => {
        const overlapped = this.#attempts.size > 0;
        for (const other of this.#attempts.values()) other.overlapped = true;
        this.#attempts.set(key, { overlapped, progressed_at: monotonicMs(), onTokens, resolve, reject });
        this.#watch();
        engine.send({ type: 'generate', key, ...job });
        signal.addEventListener('abort', cancel);
        if (signal.aborted) cancel(); // Between the engine being ready and now.
      });
    } finally {
      signal.removeEventListener('abort', cancel);
      this.#attempts.delete(key);
      this.#watch();
      if (this.#changeWhenIdle && this.#attempts.size === 0) this.#change();
      else if (this.#isFree) this.#waiters.settle(null);
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

  /**
   * An engine that ends for another model is known until it is gone: a result may still have to name it. Who
   * comes while its last generations run, or while it is ended because it stalls, waits for the next.
   */
  get #isFree(): boolean {
    if (this.#info === null || this.#changing || this.#changeWhenIdle || this.#stalled) return false;
    return this.#attempts.size < this.#info.engine.rows;
  }

  #free(signal: AbortSignal): Promise<void> {
    if (this.#isFree) return Promise.resolve();
    if (this.#loadFailure !== null)
      return Promise.reject(new SlmdError('model_not_ready', this.#loadFailure));
    const ended = () => new SlmdError('cancelled', 'ended before the engine was ready for it');
    return this.#waiters.wait(signal, ended);
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
    this.#watch();
    const { dir: model_dir, ...wanted } = this.#model;
    this.#process.send({ type: 'load', model_dir, options: this.#options.engine, ...wanted });
  }

  #onMessage(message: FromEngine): void {
    // It is being ended: what it still says must not start another generation on it.
    if (this.#stalled || this.#changing) return;
    switch (message.type) {
      case 'ready':
        this.#info = message.info;
        this.#watch();
        this.#loadFailure = null;
        this.#failedLoads = 0;
        this.#events.ready(message.info);
        this.#waiters.settle(null);
        return;
      case 'load_failed':
        if (this.#fallBack(message.message)) {
          this.#change();
          return;
        }
        this.#loadFailure = message.message;
        this.#waiters.settle(new SlmdError('model_not_ready', message.message));
        void this.#process?.stop();
        return;
    }
    const attempt = this.#attempts.get(message.key);
    if (attempt === undefined) return;
    attempt.progressed_at = monotonicMs();
    this.#watch();
    if (message.type === 'tokens') attempt.onTokens(message.text);
    if (message.type === 'done') {
      this.#failures = 0;
      attempt.resolve(message);
    }
    if (message.type === 'failed') attempt.reject(new SlmdError(message.code, message.message));
  }

  #onExit(exit: ExitReason): void {
    const wasReady = this.#info !== null;
    this.#process = null;
    this.#info = null;
    this.#watch();
    if (this.#stopping) {
      for (const { reject } of this.#attempts.values())
        reject(new SlmdError('engine_crashed', 'the engine was stopped'));
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
    const shared = this.#attempts.size > 1;
    for (const { reject, overlapped } of this.#attempts.values())
      reject(new EngineLost(code, overlapped ? message : detail, shared));
    if (!wasReady && ++this.#failedLoads >= failuresBeforeGivingUp) {
      if (this.#fallBack(message)) {
        this.#spawn();
        return;
      }
      this.#waiters.settle(new SlmdError(code, message));
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

  /** After each sign of life, and whenever there is something else to wait for. */
  #watch(): void {
    if (this.#watchdog !== null) clearTimeout(this.#watchdog);
    this.#watchdog = null;
    this.#progressedAt = monotonicMs();
    const loads = this.#process !== null && this.#info === null;
    if (!loads && (this.#process === null || this.#attempts.size === 0)) return;
    const signs = [...this.#attempts.values()].map(({ progressed_at }) => progressed_at);
    const due = Math.min(this.#progressedAt, ...signs) + this.#patienceMs;
    this.#watchdog = setTimeout(() => this.#onSilence(due), due - this.#progressedAt);
  }

  /** Where this process itself was held up, as by SIGSTOP, signs of life may wait to be read: they have time to be. */
  #onSilence(due: number): void {
    const now = monotonicMs();
    if (now - due > heldUpMs) {
      for (const attempt of this.#attempts.values()) attempt.progressed_at = now;
      this.#watch();
      return;
    }
    this.#stalled = true;
    void this.#process?.stop();
  }

  get #patienceMs(): number {
    return this.#attempts.size === 0 ? this.#options.load_max_ms : this.#options.stall_ms;
  }
}
