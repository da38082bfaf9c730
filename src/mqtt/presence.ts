import type { Info, Status } from '../contract/status.ts';
import type { Topics } from '../contract/topics.ts';
import type { Connection } from './client.ts';

export interface PresenceOptions {
  topics: Topics;
  boot: string;
  /** Retained documents that go out with each birth, besides status and info: Home Assistant's. */
  extras(): { topic: string; payload: string }[];
  info(): Omit<Info, 'protocol'>;
  /** What the broker says of a document. */
  answered(topic: string, reasonCode: number): void;
  /** The status is another, or has another connection or none to go out on. */
  changed(): void;
}

/**
 * What the network sees of this device: its state, why, and what it is.
 *
 * The state is never set, it follows from three things that are: whether the engine is ready, whether
 * the device drains, and the conditions that degrade it, each with a line for a person.
 *
 * INVARIANTS: status documents reach one connection in the order of the changes behind them; after
 * each connect everything retained is published again, because a broker may have lost it.
 */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #conditions = new Map<string, string>();
  #engineReady = false;
  #draining = false;
  #connection: Connection | null = null;
  #sending: Promise<void> = Promise.resolve();
  #published = '';
  #births = 0;

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  get status(): Status {
    const named = { boot: this.#options.boot, birth: this.#births };
    const whys = [...this.#conditions.values()];
    if (this.#draining) return { state: 'draining', ...named, why: 'the device is stopping' };
    if (whys.length > 0) return { state: 'degraded', ...named, why: whys.join('; ') };
    if (!this.#engineReady) return { state: 'starting', ...named, why: 'the model is loading' };
    return { state: 'ready', ...named, why: null };
  }

  /** Of this connection; null where there is none, and until it is told. */
  get birth(): number | null {
    return this.#connection === null ? null : this.#births;
  }

  /** The will of the next connection: what the broker says for a device that has vanished. */
  get will(): Status {
    return { state: 'offline', boot: this.#options.boot, birth: this.#births + 1, why: 'connection lost' };
  }

  engineReady(ready: boolean): void {
    this.#engineReady = ready;
    this.#changed({ info: ready });
  }

  /** Sets or, with null, clears a reason for being degraded. */
  condition(name: string, why: string | null): void {
    if (why === null) this.#conditions.delete(name);
    else this.#conditions.set(name, why);
    this.#changed();
  }

  drain(): void {
    this.#draining = true;
    this.#changed();
  }

  /** Says everything to a new connection. Resolves when the broker has it. */
  born(connection: Connection): Promise<void> {
    this.#connection = connection;
    this.#births++;
    this.#published = '';
    this.#changed({ info: true });
    return this.#sending;
  }

  /** A status on the device's own topic. A will that came late, its own or a predecessor's, is contradicted. */
  hear({ state }: Status): void {
    if (state === 'offline') this.repeat();
  }

  /** Says the status once more, though it is the same. */
  repeat(): void {
    this.#published = '';
    this.#changed();
  }

  /** Says everything once more, to a broker that has refused some of it. */
  again(): void {
    this.#published = '';
    this.#changed({ info: true });
  }

  lost(): void {
    this.#connection = null;
    this.#options.changed();
  }

  /** The last word before a graceful DISCONNECT, which discards the will. */
  async offline(): Promise<void> {
    const connection = this.#connection;
    const last: Status = { ...this.status, state: 'offline', why: 'stopped' };
    await this.#sending;
    this.#connection = null;
    await this.#retain(connection, this.#options.topics.status, JSON.stringify(last));
  }

  #changed({ info = false } = {}): void {
    this.#options.changed();
    const connection = this.#connection;
    if (connection === null) return;
    this.#sending = this.#sending.then(() => this.#publish(connection, info));
  }

  /** Stops where the connection is lost under way: its successor is told everything again. */
  async #publish(connection: Connection, info: boolean): Promise<void> {
    const status = JSON.stringify(this.status);
    if (connection === this.#connection && status !== this.#published) {
      // Before it is sent: a birth on the next connection, meanwhile, sets it back.
      this.#published = status;
      await this.#retain(connection, this.#options.topics.status, status);
    }
    if (!info) return;
    const document: Info = {
      ...this.#options.info(),
      protocol: connection.protocol === 5 ? '5.0' : '3.1.1',
    };
    const documents = [
      { topic: this.#options.topics.info, payload: JSON.stringify(document) },
      ...this.#options.extras(),
    ];
    for (const { topic, payload } of documents)
      if (connection === this.#connection) await this.#retain(connection, topic, payload);
  }

  async #retain(connection: Connection | null, topic: string, payload: string): Promise<void> {
    try {
      const code = await connection?.publish(topic, payload, {
        qos: 1,
        retain: true,
        content_type: 'application/json',
      });
      if (code !== undefined) this.#options.answered(topic, code);
    } catch {
      // The connection ended: its successor is told everything again.
    }
  }
}
