import { randomBytes } from 'node:crypto';
import type { Config } from './config/schema.ts';
import type { Origin } from './contract/compose.ts';
import { discoveryOf } from './contract/home-assistant.ts';
import type { Info } from './contract/status.ts';
import { type Topics, topicsOf } from './contract/topics.ts';
import { Delivery } from './delivery.ts';
import { infoOf } from './device-info.ts';
import { Journal } from './journal/journal.ts';
import { diskStorage, type LogStorage } from './journal/log-file.ts';
import type { Logger } from './lib/logger.ts';
import { shippedModel } from './lib/package-root.ts';
import { version } from './lib/version.ts';
import { within } from './lib/within.ts';
import { type Connection, reasonCodes } from './mqtt/client.ts';
import { brokerAccess } from './mqtt/connection-options.ts';
import type { IncomingMessage } from './mqtt/inbox.ts';
import { Link } from './mqtt/link.ts';
import { Outbox } from './mqtt/outbox.ts';
import { Presence } from './mqtt/presence.ts';
import { Probe } from './mqtt/probe.ts';
import { Admission } from './queue/admission.ts';
import { RequestQueue } from './queue/queue.ts';
import { Service } from './serve.ts';
import { Supervisor } from './supervisor/supervisor.ts';
import type { Board, BoardIdentity } from './telemetry/board.ts';
import { Telemetry } from './telemetry/telemetry.ts';

export interface DaemonParts {
  config: Config;
  /** Name of the device profile in force. */
  profile: string;
  board: Board;
  log: Logger;
  /** The engine's entry point: a file that Node can run. */
  engine_entry: string;
  /** Where the journal writes; the disk unless told otherwise. */
  storage?: LogStorage;
}

/**
 * The whole device: builds every room, connects them, starts them in order and stops them in reverse.
 */
export class Daemon {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #profile: string;
  readonly #board: Board;
  readonly #identity: BoardIdentity;
  /** Names this process: readers tell a late will from a new birth by it. */
  readonly #boot = randomBytes(6).toString('hex');
  readonly #topics: Topics;
  readonly #supervisor: Supervisor;
  readonly #queue: RequestQueue;
  readonly #telemetry: Telemetry;
  readonly #outbox: Outbox;
  readonly #presence: Presence;
  readonly #probe: Probe;
  readonly #journal: Journal;
  readonly #service: Service;
  readonly #link: Link;
  #connections = 0;
  #sweeping: NodeJS.Timeout | null = null;
  /** What the broker of this connection has refused so far: each is said once. */
  readonly #refusals = new Set<string>();

  constructor({ config, profile, board, log, engine_entry, storage = diskStorage }: DaemonParts) {
    this.#config = config;
    this.#profile = profile;
    this.#log = log;
    this.#board = board;
    this.#identity = board.identity();
    this.#topics = topicsOf(config.topic_prefix, config.device);
    this.#supervisor = this.#makeSupervisor(engine_entry);
    this.#queue = new RequestQueue({
      depth_max: config.limits.queue_depth_max,
      bytes_max: config.limits.queue_bytes_max,
    });
    this.#telemetry = this.#makeTelemetry();
    this.#outbox = new Outbox({ refused: (topic, code) => this.#onRefused(topic, code) });
    this.#presence = this.#makePresence();
    this.#probe = new Probe(this.#topics.probe, this.#boot);
    this.#journal = this.#makeJournal(storage);
    this.#service = this.#makeService();
    this.#link = this.#makeLink();
  }

  /**
   * Reads the journal, then starts everything else and returns: a broker that is away and a model that
   * loads are waited for.
   *
   * @throws where the journal cannot be read, or another process has it
   */
  async start(): Promise<void> {
    this.#log.info(
      { device: this.#config.device, version: version(), profile: this.#profile },
      'slmd starts',
    );
    const { torn_bytes, damaged_lines } = await this.#journal.start();
    if (torn_bytes + damaged_lines > 0)
      this.#log.warn({ torn_bytes, damaged_lines }, 'the journal was damaged; what can be read of it counts');
    this.#supervisor.start();
    this.#telemetry.start();
    this.#service.resume();
    this.#link.start();
    this.#sweeping = setInterval(() => this.#service.sweep(), sweepMs);
  }

  /** Answers what it has within `limits.drain_ms`, says goodbye, and stops everything. The rest is in the journal. */
  async stop(): Promise<void> {
    if (this.#sweeping !== null) clearInterval(this.#sweeping);
    this.#log.info('slmd stops');
    this.#presence.drain();
    const drained = this.#service.drain(this.#config.limits.drain_ms);
    await within(this.#config.limits.drain_ms + cancelMs, drained);
    // A generation that hears no cancel ends with its engine, and is answered too.
    await this.#supervisor.stop();
    await drained;
    if (this.#link.connection !== null) await within(flushMs, this.#outbox.idle());
    await within(flushMs, this.#presence.offline('stopped'));
    await this.#link.stop();
    this.#telemetry.stop();
    await this.#journal.stop();
  }

  async #onUp(connection: Connection): Promise<void> {
    const { prompt, cancel, ack, probe } = this.#topics;
    const protocol = connection.protocol === 5 ? 'MQTT 5' : 'MQTT 3.1.1';
    this.#log.info({ broker: this.#config.mqtt.url, protocol }, 'connected');
    if (this.#connections++ > 0) this.#telemetry.counters.mqtt_reconnects++;
    this.#refusals.clear();
    this.#presence.condition('acl', null);
    await connection.subscribe([probe, prompt, cancel, ack]);
    await this.#presence.born(connection);
    if (connection.connected) this.#outbox.use(connection);
    const finding = await this.#probe.run(connection);
    if (finding !== null) this.#log.error(finding);
    this.#presence.condition('probe', finding);
  }

  #onMessage(message: IncomingMessage, acknowledge: () => void): void {
    if (message.topic === this.#topics.probe) {
      this.#probe.hear(message.payload);
      acknowledge();
    } else this.#service.handle(message, acknowledge);
  }

  #onRefused(topic: string, code: number): void {
    // Where a topic ends with a request's id, that is for the log alone.
    const known = Object.values(this.#topics).includes(topic);
    const place = known ? topic : `${topic.split('/').slice(0, -1).join('/')}/…`;
    const why =
      code === reasonCodes.packetTooLarge
        ? `the broker's packets are too small for ${place}: raise its limit`
        : `the broker refuses publishing to ${place} (code ${code}): check its ACL`;
    if (this.#refusals.has(why)) return;
    this.#refusals.add(why);
    this.#log.error({ topic, code }, 'the broker refuses a publish');
    // Somebody else's topic that the ACL keeps from this device says nothing about the device.
    if (topic.startsWith(`${this.#config.topic_prefix}/${this.#config.device}/`))
      this.#presence.condition('acl', why);
  }

  #makeSupervisor(entry: string): Supervisor {
    const { engine, model, generation } = this.#config;
    return new Supervisor(
      {
        entry,
        model_dir: model.dir ?? shippedModel(),
        engine: {
          backend: engine.backend,
          threads: engine.threads,
          prefill_chunk_tokens: engine.prefill_chunk_tokens,
          context_length_max: engine.context_length_max,
          max_tokens_default: generation.max_tokens,
        },
        stall_ms: engine.stall_ms,
        restart: { min_ms: engine.restart_min_ms, max_ms: engine.restart_max_ms },
      },
      {
        ready: (info) => {
          this.#log.info(
            { model: info.model.id, ...info.engine, load_ms: Math.round(info.load_ms) },
            'engine ready',
          );
          this.#presence.condition('engine', null);
          this.#presence.engineReady(true);
        },
        down: (code, message, retryMs) => {
          this.#log.error({ code, retry_ms: Math.round(retryMs) }, message);
          this.#telemetry.counters.engine_restarts++;
          this.#presence.condition('engine', message);
          this.#presence.engineReady(false);
        },
        garbage: () => this.#log.warn('the engine sent a message that is none'),
        said: (line) => this.#log.warn(line),
      },
    );
  }

  #makeTelemetry(): Telemetry {
    const { device, telemetry } = this.#config;
    return new Telemetry({
      device,
      boot: this.#boot,
      interval_ms: telemetry.interval_s * 1000,
      window_ms: telemetry.window_s * 1000,
      board: this.#board,
      queue: () => ({ depth: this.#queue.depth, bytes: this.#queue.bytes, running: this.#queue.running }),
      enginePid: () => this.#supervisor.pid,
      publish: (document) => this.#publishNow(this.#topics.telemetry, document, 0),
    });
  }

  #makePresence(): Presence {
    const { home_assistant } = this.#config;
    return new Presence({
      topics: this.#topics,
      boot: this.#boot,
      info: () => this.#info(),
      extras: () =>
        home_assistant.discovery ? [discoveryOf(this.#info(), this.#topics, home_assistant.prefix)] : [],
      refused: (topic, code) => this.#onRefused(topic, code),
    });
  }

  #makeJournal(storage: LogStorage): Journal {
    const { dir, retention_s, results_kept_max, bytes_max } = this.#config.journal;
    return new Journal({
      dir,
      retention_ms: retention_s * 1000,
      finished_max: results_kept_max,
      bytes_max,
      retry: storageRetry,
      storage,
      trouble: (error) => {
        this.#log.error(
          { code: (error as NodeJS.ErrnoException).code },
          'the journal cannot be written; prompts are refused until it can',
        );
        this.#presence.condition('storage', `the journal cannot be written: ${error.message}`);
      },
      recovered: () => {
        this.#log.info('the journal can be written again');
        this.#presence.condition('storage', null);
      },
    });
  }

  #makeService(): Service {
    const { limits, mqtt, generation, engine } = this.#config;
    return new Service({
      inbox: {
        topics: this.#topics,
        payload_bytes_max: limits.payload_bytes_max,
        response_topics: mqtt.response_topics,
        defaults: generation,
      },
      topics: this.#topics,
      journal: this.#journal,
      delivery: new Delivery({
        post: { deliver: (parcel) => this.#outbox.push(parcel) },
        topics: this.#topics,
        result_retention_s: this.#config.journal.retention_s,
      }),
      admission: new Admission(this.#queue),
      supervisor: this.#supervisor,
      telemetry: this.#telemetry,
      post: {
        deliver: (parcel) => this.#outbox.push(parcel),
        event: (topic, event) => this.#publishNow(topic, event, 1),
        tokens: (topic, batch) => this.#publishNow(topic, batch, 0),
      },
      log: this.#log,
      attempts_max: engine.attempts_max,
      origin: () => this.#origin(),
    });
  }

  #makeLink(): Link {
    const { mqtt, device, limits } = this.#config;
    return new Link(
      {
        protocol: mqtt.protocol,
        reconnect: { min_ms: mqtt.reconnect_min_ms, max_ms: mqtt.reconnect_max_ms },
        connection: {
          ...brokerAccess(mqtt),
          client_id: mqtt.client_id ?? `slmd-${device}`,
          session_expiry_s: mqtt.session_expiry_s,
          receive_maximum: mqtt.receive_maximum,
          // Far more than a payload may have: a broker drops in silence what is above this bound.
          packet_bytes_max: limits.payload_bytes_max + inboundSlackBytes,
          will: {
            topic: this.#topics.status,
            payload: JSON.stringify(this.#presence.will),
            delay_s: mqtt.will_delay_s,
          },
        },
      },
      {
        message: (message, acknowledge) => this.#onMessage(message, acknowledge),
        up: (connection) => this.#onUp(connection),
        down: ({ code, message }, retryMs) => {
          this.#presence.lost();
          this.#outbox.use(null);
          this.#log.warn({ code, retry_ms: Math.round(retryMs) }, message);
        },
      },
    );
  }

  /** Now or never: what has no connection is dropped. */
  #publishNow(topic: string, document: object, qos: 0 | 1): boolean {
    const connection = this.#link.connection;
    if (connection === null) return false;
    // A connection that ends under way reports itself as down.
    const publishing = connection.publish(topic, JSON.stringify(document), { qos });
    void publishing.then(
      (code) => {
        if (code >= reasonCodes.failure) this.#onRefused(topic, code);
      },
      () => undefined,
    );
    return true;
  }

  #origin(): Origin {
    return {
      device: this.#config.device,
      model: this.#supervisor.info?.model.id ?? null,
      board: this.#board.snapshot(),
    };
  }

  #info(): Omit<Info, 'protocol'> {
    const board = { ...this.#identity, profile: this.#profile };
    return infoOf({ config: this.#config, boot: this.#boot, board, engine: this.#supervisor.info });
  }
}

/** How often results whose time has passed are looked for. */
const sweepMs = 30_000;
/** A full disk is looked at again after so long. */
const storageRetry = { min_ms: 500, max_ms: 10_000 };
/** What arrives too large is refused with a code, up to this much too large. */
const inboundSlackBytes = 16_777_216;
/** Longer than a prefill chunk takes on the slowest board. */
const cancelMs = 2000;
/** A goodbye must not wait for a broker that has stopped listening. */
const flushMs = 3000;
