import { type BackoffBounds, backoffMs } from '../lib/backoff.ts';
import { monotonicMs } from '../lib/clock.ts';
import { Pause } from '../lib/pause.ts';
import { Connection, type ProtocolVersion } from './client.ts';
import type { ConnectionOptions } from './connection-options.ts';
import type { IntakeEvents } from './intake.ts';
import { ConnectError, type Trouble } from './trouble.ts';

export interface LinkOptions {
  /** Asked before each attempt. */
  connection(): ConnectionOptions;
  /** `auto` speaks MQTT 5 first and falls back to 3.1.1. */
  protocol: 'auto' | '5.0' | '3.1.1';
  /** How patient to be after a connection that ended so. */
  reconnect(ended: Ended): BackoffBounds;
}

/** The end of a connection, or of the attempt to make one. */
export interface Ended {
  trouble: Trouble;
  /** From CONNACK to the end; null where there was none. */
  lasted_ms: number | null;
}

export interface LinkEvents extends Pick<IntakeEvents, 'message' | 'dropped'> {
  /** A connection is there. What it throws or rejects with ends the connection and is reported as trouble. */
  up(connection: Connection): Promise<void>;
  /** A connection ended, or could not be made; the next attempt is after `retry_ms`. */
  down(trouble: Trouble, retryMs: number): void;
}

/** A connection that lasted this long was a good one: the next wait starts small again. */
const stableMs = 10_000;
/** A broker that twice hangs up on a CONNECT without an answer may not know MQTT 5. */
const silentClosesBeforeFallback = 2;

/**
 * Keeps one connection to the broker, for as long as the device lives.
 *
 * INVARIANTS: at most one `Connection` exists; `up` and `down` alternate for each connection;
 * after `stop()` has resolved nothing is called any more.
 */
export class Link {
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  #connection: Connection | null = null;
  /** When the connection of this round was accepted; null where it was not. */
  #openedAt: number | null = null;
  #stopping = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  /** Before the next attempt. */
  readonly #pause = new Pause();

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** The live connection, or null while there is none. */
  get connection(): Connection | null {
    return this.#connection?.connected ? this.#connection : null;
  }

  start(): void {
    this.#stopping = new AbortController();
    this.#loop = this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#pause.end();
    await this.#connection?.close().catch(() => undefined);
    await this.#loop;
  }

  /** Tries again at once, where it pauses before the next attempt. */
  wake(): void {
    this.#pause.end();
  }

  async #run(stopping: AbortSignal): Promise<void> {
    const speech = new ProtocolChoice(this.#options.protocol);
    for (let failures = 0; !stopping.aborted; failures++) {
      this.#openedAt = null;
      const trouble = await this.#connectOnce(speech, stopping);
      if (stopping.aborted) return;
      const lasted_ms = this.#openedAt === null ? null : monotonicMs() - this.#openedAt;
      if (lasted_ms !== null && lasted_ms > stableMs) failures = 0;
      const bounds = this.#options.reconnect({ trouble, lasted_ms });
      // Another version is tried at once: the broker is there, it only did not understand.
      const retryMs = speech.changed() ? 0 : backoffMs(failures, bounds, Math.random());
      this.#events.down(trouble, retryMs);
      if (!stopping.aborted) await this.#pause.take(retryMs);
    }
  }

  /** From CONNECT to the end of the connection; returns what ended it. */
  async #connectOnce(speech: ProtocolChoice, stopping: AbortSignal): Promise<Trouble> {
    try {
      const connection = await Connection.open(
        this.#options.connection(),
        speech.version,
        this.#events,
        stopping,
      );
      speech.understood();
      this.#connection = connection;
      this.#openedAt = monotonicMs();
      if (stopping.aborted) await connection.close();
      else await Promise.race([this.#events.up(connection), connection.closed]);
      return await connection.closed;
    } catch (error) {
      this.#connection?.destroy();
      if (!(error instanceof ConnectError)) return { code: 'packet', message: (error as Error).message };
      speech.failed(error.trouble);
      return error.trouble;
    } finally {
      this.#connection = null;
    }
  }
}

/**
 * Which MQTT version to speak next. A fallback lasts until the process ends or 3.1.1 fails too.
 *
 * A forwarded port closes before a CONNACK too, while the broker behind it restarts. So a close says nothing
 * about the version where MQTT 5 was understood before, or where 3.1.1, tried at once, is closed as well.
 */
export class ProtocolChoice {
  version: ProtocolVersion;
  readonly #auto: boolean;
  #silentCloses = 0;
  /** Whether 3.1.1 is spoken because of closes, and nobody has understood it yet. */
  #guessed = false;
  #understood5 = false;
  #changed = false;

  constructor(wanted: LinkOptions['protocol']) {
    this.version = wanted === '3.1.1' ? 4 : 5;
    this.#auto = wanted === 'auto';
  }

  understood(): void {
    this.#silentCloses = 0;
    this.#guessed = false;
    if (this.version === 5) this.#understood5 = true;
  }

  failed({ code }: Trouble): void {
    if (!this.#auto) return;
    this.#silentCloses = code === 'closed' ? this.#silentCloses + 1 : 0;
    if (code === 'protocol') {
      this.#understood5 = false;
      this.#change();
    } else if (this.#guessed && this.#silentCloses > 0) {
      this.#change();
      this.#silentCloses = silentClosesBeforeFallback - 1;
    } else if (this.#silentCloses >= silentClosesBeforeFallback && !this.#understood5) {
      this.#change();
      this.#guessed = this.version === 4;
    }
  }

  /** Whether the last failure changed the version; asking clears the answer. */
  changed(): boolean {
    const changed = this.#changed && this.version === 4;
    this.#changed = false;
    return changed;
  }

  #change(): void {
    this.version = this.version === 5 ? 4 : 5;
    this.#silentCloses = 0;
    this.#guessed = false;
    this.#changed = true;
  }
}
