import type { Config } from './config/schema.ts';
import { discoveryOf } from './contract/home-assistant.ts';
import { type Info, readStatus } from './contract/status.ts';
import type { Counters } from './contract/telemetry.ts';
import type { Topics } from './contract/topics.ts';
import type { BackoffBounds } from './lib/backoff.ts';
import { monotonicMs } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import { RateLimit } from './lib/rate-limit.ts';
import { within } from './lib/within.ts';
import { Access } from './mqtt/access.ts';
import { BrokerAddresses } from './mqtt/broker-addresses.ts';
import type { Connection } from './mqtt/client.ts';
import { brokerAccess, type ConnectionOptions } from './mqtt/connection-options.ts';
import type { IncomingMessage } from './mqtt/inbox.ts';
import { type Ended, Link } from './mqtt/link.ts';
import { Namesake } from './mqtt/namesake.ts';
import { Outbox, type Parcel } from './mqtt/outbox.ts';
import { Presence } from './mqtt/presence.ts';
import { RetainedMemory } from './mqtt/retained-memory.ts';

export interface UplinkParts {
  config: Config;
  topics: Topics;
  /** Names this process: readers tell a late will from a new birth by it. */
  boot: string;
  log: Logger;
  counters: Counters;
  info(): Omit<Info, 'protocol'>;
  /** A prompt, a cancel, an ack, or what somebody else put on these topics. */
  message(message: IncomingMessage, acknowledge: () => void): void;
  /** The status or the connection is another. */
  changed(): void;
}

/**
 * The device on its broker: the connection, what the network sees of the device, the ways out, and what
 * is wrong with any of them.
 *
 * INVARIANTS: on each connection subscriptions come first, then the birth, then what waits in the outbox;
 * whatever the broker refuses, or another device does to this one, ends in a condition of the status.
 */
export class Uplink {
  readonly presence: Presence;
  readonly #parts: UplinkParts;
  readonly #outbox: Outbox;
  readonly #retained = new RetainedMemory();
  readonly #access: Access;
  readonly #namesake: Namesake;
  readonly #addresses: BrokerAddresses;
  readonly #link: Link;
  #connections = 0;
  /** Until when the last broker was certainly there. `monotonicMs()` */
  #lostAt = 0;
  #wasUp = false;
  readonly #drops: RateLimit;
  /** How long a broker that has gone silent may have been so. */
  #silenceMs = 0;

  constructor(parts: UplinkParts) {
    this.#parts = parts;
    const { config } = parts;
    this.presence = this.#makePresence();
    this.#access = this.#makeAccess();
    this.#outbox = new Outbox({
      answered: (topic, code) => this.#access.answered(topic, code),
    });
    this.#namesake = this.#makeNamesake();
    this.#drops = new RateLimit(1, droppedLineMs, (count) =>
      parts.log.warn({ count }, 'dropped others besides'),
    );
    this.#addresses = new BrokerAddresses(config.mqtt);
    this.#link = new Link(
      {
        protocol: config.mqtt.protocol,
        reconnect: (ended) => this.#patience(ended),
        connection: () => this.#connectionOptions(),
      },
      {
        message: (message, acknowledge) => this.#onMessage(message, acknowledge),
        dropped: () => this.#onDropped(),
        up: (connection) => this.#onUp(connection),
        down: ({ code, message }, retryMs) => {
          this.presence.lost();
          this.#access.end();
          if (this.#wasUp) this.#lostAt = monotonicMs() - (code === 'timeout' ? this.#silenceMs : 0);
          this.#wasUp = false;
          this.#outbox.use(null);
          parts.log.warn({ code, retry_ms: Math.round(retryMs) }, message);
        },
      },
    );
  }

  get connected(): boolean {
    return this.#link.connection !== null;
  }

  /** @param earlierBoots names of this device's processes before this one */
  start(earlierBoots: readonly string[]): void {
    this.#namesake.remember(earlierBoots);
    this.#link.start();
  }

  /** Sends what waits if a broker is there for it, says goodbye, and is gone. */
  async stop(): Promise<void> {
    if (this.#outbox.depth > 0) this.#link.wake();
    await within(flushMs, this.#outbox.idle());
    await within(flushMs, this.presence.offline());
    this.#namesake.stop();
    this.#access.end();
    await this.#link.stop();
  }

  /** At least once, whatever happens to the connection. */
  deliver(parcel: Parcel): void {
    if (parcel.payload === '') this.#retained.takenBack(parcel.topic);
    this.#outbox.push(parcel.retain ? this.#remembered(parcel) : parcel);
  }

  /** Now or never: what has no connection is dropped. */
  sendNow(topic: string, document: object, qos: 0 | 1): boolean {
    const { connection } = this.#link;
    if (connection === null) return false;
    // A connection that ends under way reports itself as down.
    const publishing = connection.publish(topic, JSON.stringify(document), { qos });
    void publishing.then(
      (code) => this.#access.answered(topic, code),
      () => undefined,
    );
    return true;
  }

  async #onUp(connection: Connection): Promise<void> {
    const { config, log, counters } = this.#parts;
    const protocol = connection.protocol === 5 ? 'MQTT 5' : 'MQTT 3.1.1';
    log.info({ broker: this.#addresses.current, protocol }, 'connected');
    if (this.#connections++ > 0) counters.mqtt_reconnects++;
    // Prompts for a device that is away are then lost, and nobody but the broker can help it.
    if (config.mqtt.session_expiry_s > 0 && !connection.keeps_sessions)
      log.warn('the broker keeps nothing for this device while it is away: its session expiry is 0');
    this.#namesake.connected();
    await this.#access.begin(connection);
    await this.presence.born(connection);
    if (connection.connected) this.#outbox.use(connection);
    this.#giveAgain(connection);
    this.#wasUp = true;
    this.#silenceMs = keepalivesMissed * connection.keepalive_s * 1000;
    await this.#access.check(connection);
  }

  #remembered(parcel: Parcel): Parcel {
    const delivered = () => {
      this.#retained.given(parcel, monotonicMs());
      parcel.delivered();
    };
    return { ...parcel, delivered };
  }

  /** Gives the broker again what it may have lost: everything where it does not know this device any more. */
  #giveAgain(connection: Connection): void {
    const { session_expiry_s } = this.#parts.config.mqtt;
    const forgot = session_expiry_s > 0 && !connection.session_present;
    const since = forgot ? Number.NEGATIVE_INFINITY : this.#lostAt - brokerForgetsMs;
    for (const parcel of this.#retained.again(since, monotonicMs()))
      this.#outbox.push({
        ...parcel,
        fleeting: true,
        optional: true,
        delivered: () => this.#retained.givenAgain(parcel.topic, monotonicMs()),
      });
  }

  #onMessage(message: IncomingMessage, acknowledge: () => void): void {
    const { status, probe } = this.#parts.topics;
    if (message.topic !== status && message.topic !== probe) {
      this.#parts.message(message, acknowledge);
      return;
    }
    if (message.topic === probe) this.#access.hear(message.payload);
    else this.#onStatus(message.payload);
    acknowledge();
  }

  /** They come by the thousand: the first is said, and then how many there were. */
  #onDropped(): void {
    this.#parts.counters.messages_dropped++;
    if (this.#drops.admits()) this.#parts.log.warn('messages of QoS 0 come faster than they can be answered');
  }

  #onStatus(payload: Buffer): void {
    const status = readStatus(payload);
    if (status === null) return;
    this.presence.hear(status);
    this.#namesake.hear(status, this.presence.birth);
  }

  /**
   * What comes after the end of a connection. Two devices with one client id would take the broker away from
   * each other without end: they take turns.
   */
  #patience(ended: Ended): BackoffBounds {
    const { reconnect_min_ms, reconnect_max_ms, duplicate_wait_ms } = this.#parts.config.mqtt;
    this.#addresses.ended(ended);
    this.#namesake.ended(ended, this.#addresses.current);
    return this.#namesake.takesTurns
      ? { min_ms: duplicate_wait_ms, max_ms: duplicate_wait_ms }
      : { min_ms: reconnect_min_ms, max_ms: reconnect_max_ms };
  }

  #makeAccess(): Access {
    const { config, topics, boot, log } = this.#parts;
    return new Access({
      topics,
      own_prefix: `${config.topic_prefix}/${config.device}/`,
      boot,
      log,
      condition: (name, why) => this.presence.condition(name, why),
      sayAgain: () => this.presence.again(),
    });
  }

  #makeNamesake(): Namesake {
    const { config, boot, log, counters } = this.#parts;
    return new Namesake({
      device: config.device,
      boot,
      wait_ms: config.mqtt.duplicate_wait_ms,
      log,
      counters,
      condition: (why) => this.presence.condition('duplicate', why),
      repeat: () => this.presence.repeat(),
    });
  }

  #makePresence(): Presence {
    const { config, topics, boot, info } = this.#parts;
    const { discovery, prefix } = config.home_assistant;
    return new Presence({
      topics,
      boot,
      info,
      extras: () => (discovery ? [discoveryOf(info(), topics, prefix)] : []),
      answered: (topic, code) => this.#access.answered(topic, code),
      changed: () => this.#parts.changed(),
    });
  }

  /** For the next connection: its will names its own birth. */
  #connectionOptions(): ConnectionOptions {
    const { config, topics } = this.#parts;
    const { mqtt, device, limits } = config;
    return {
      ...brokerAccess(mqtt),
      url: this.#addresses.current,
      client_id: mqtt.client_id ?? `slmd-${device}`,
      session_expiry_s: mqtt.session_expiry_s,
      receive_maximum: mqtt.receive_maximum,
      // Far more than a payload may have: a broker drops in silence what is above this bound.
      packet_bytes_max: limits.payload_bytes_max + inboundSlackBytes,
      will: {
        topic: topics.status,
        payload: JSON.stringify(this.presence.will),
        delay_s: mqtt.will_delay_s,
      },
    };
  }
}

/** What arrives too large is refused with a code, up to this much too large. */
const inboundSlackBytes = 16_777_216;
/** How often it is said that messages are dropped. */
const droppedLineMs = 10_000;
/** What a broker that is killed may have lost although it acknowledged it: Mosquitto's `autosave_interval 1`, and its writing. */
const brokerForgetsMs = 2000;
/** A broker that is silent is given up after so long, in keepalives. */
const keepalivesMissed = 1.5;
/** A goodbye must not wait for a broker that has stopped listening. */
const flushMs = 3000;
