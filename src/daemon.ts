import { randomBytes } from 'node:crypto';
import type { ProfileInForce } from './config/profile-in-force.ts';
import type { Config } from './config/schema.ts';
import type { Origin } from './contract/compose.ts';
import type { BoardSnapshot } from './contract/result.ts';
import type { Info } from './contract/status.ts';
import { type Topics, topicsOf } from './contract/topics.ts';
import { Delivery } from './delivery.ts';
import { infoOf } from './device-info.ts';
import { rememberBoot } from './journal/boots.ts';
import { Journal } from './journal/journal.ts';
import { diskStorage, type LogStorage } from './journal/log-file.ts';
import { Cached } from './lib/cached.ts';
import type { Logger } from './lib/logger.ts';
import { type OomKills, oomKillsOfMachine } from './lib/oom-kills.ts';
import type { ServiceManager } from './lib/service-manager.ts';
import { version } from './lib/version.ts';
import { within } from './lib/within.ts';
import { Admission } from './queue/admission.ts';
import { RequestQueue } from './queue/queue.ts';
import { Service } from './serve.ts';
import { ServedModel } from './served-model.ts';
import { ServiceReport } from './service-report.ts';
import type { Board, BoardIdentity } from './telemetry/board.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import { Uplink } from './uplink.ts';

export interface DaemonParts {
  config: Config;
  profile: ProfileInForce;
  board: Board;
  log: Logger;
  /** The engine's entry point: a file that Node can run. */
  engine_entry: string;
  /** Where the journal writes; the disk unless told otherwise. */
  storage?: LogStorage;
  /** What the journal notes with each attempt; the kernel's count unless told otherwise. */
  oomKills?: OomKills;
  /** Who wants to hear how this process is; nobody unless told otherwise. */
  manager?: ServiceManager | null;
  /** Called once, when the first engine is ready: the start is over. */
  started?: () => void;
}

/**
 * The whole device: builds every room, connects them, starts them in order and stops them in reverse.
 */
export class Daemon {
  readonly #config: Config;
  readonly #log: Logger;
  readonly #profile: ProfileInForce;
  readonly #board: Board;
  readonly #identity: BoardIdentity;
  readonly #boardNow: Cached<BoardSnapshot>;
  /** Names this process: readers tell a late will from a new birth by it. */
  readonly #boot = randomBytes(6).toString('hex');
  readonly #topics: Topics;
  readonly #model: ServedModel;
  readonly #queue: RequestQueue;
  readonly #telemetry: Telemetry;
  readonly #uplink: Uplink;
  readonly #journal: Journal;
  readonly #service: Service;
  readonly #report: ServiceReport;
  #started: (() => void) | null;
  #diskTrouble = false;
  #sweeping: NodeJS.Timeout | null = null;

  constructor({
    config,
    profile,
    board,
    log,
    engine_entry,
    storage = diskStorage,
    oomKills = oomKillsOfMachine(),
    manager = null,
    started = () => undefined,
  }: DaemonParts) {
    this.#config = config;
    this.#profile = profile;
    this.#log = log;
    this.#board = board;
    this.#identity = board.identity();
    this.#boardNow = new Cached(() => board.snapshot(), boardKeptMs);
    this.#topics = topicsOf(config.topic_prefix, config.device);
    this.#model = this.#makeModel(engine_entry);
    this.#queue = new RequestQueue({
      depth_max: config.limits.queue_depth_max,
      bytes_max: config.limits.queue_bytes_max,
    });
    this.#telemetry = this.#makeTelemetry();
    this.#uplink = this.#makeUplink();
    this.#journal = this.#makeJournal(storage, oomKills);
    this.#service = this.#makeService();
    this.#report = this.#makeReport(manager);
    this.#started = started;
  }

  /**
   * Reads the journal, then starts everything else and returns: a broker that is away and a model that
   * loads are waited for.
   *
   * @throws where the journal cannot be read, or another process has it
   */
  async start(): Promise<void> {
    this.#log.info(
      { device: this.#config.device, version: version(), profile: this.#profile.name },
      'slmd starts',
    );
    const { torn_bytes, damaged_lines } = await this.#journal.start();
    const earlierBoots = await rememberBoot(this.#config.journal.dir, this.#boot);
    this.#report.start();
    if (torn_bytes + damaged_lines > 0)
      this.#log.warn({ torn_bytes, damaged_lines }, 'the journal was damaged; what can be read of it counts');
    this.#model.start();
    this.#telemetry.start();
    this.#service.resume();
    this.#uplink.start(earlierBoots);
    this.#sweeping = setInterval(() => this.#service.sweep(), sweepMs);
  }

  /** Answers what it has within `limits.drain_ms`, says goodbye, and stops everything. The rest is in the journal. */
  async stop(): Promise<void> {
    this.#model.settle();
    if (this.#sweeping !== null) clearInterval(this.#sweeping);
    this.#log.info('slmd stops');
    this.#report.stopping(this.#config.limits.drain_ms + goodbyeMs);
    this.#uplink.presence.drain();
    const drained = this.#service.drain(this.#config.limits.drain_ms);
    await within(this.#config.limits.drain_ms + cancelMs, drained);
    // A generation that hears no cancel ends with its engine, and is answered too.
    await this.#model.stop();
    await drained;
    await this.#uplink.stop();
    this.#telemetry.stop();
    await this.#journal.stop();
    this.#report.stop();
  }

  #makeModel(engine_entry: string): ServedModel {
    return new ServedModel({
      config: this.#config,
      engine_entry,
      log: this.#log,
      condition: (name, why) => this.#uplink.presence.condition(name, why),
      ready: ({ engine }) => {
        this.#queue.concurrency = engine.rows;
        this.#uplink.presence.engineReady(true);
        this.#started?.();
        this.#started = null;
      },
      gone: (because) => {
        if (because === 'failure') this.#telemetry.counters.engine_restarts++;
        this.#uplink.presence.engineReady(false);
      },
    });
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
      enginePid: () => this.#model.supervisor.pid,
      publish: (document) => this.#uplink.sendNow(this.#topics.telemetry, document, 0),
    });
  }

  #makeUplink(): Uplink {
    return new Uplink({
      config: this.#config,
      topics: this.#topics,
      boot: this.#boot,
      log: this.#log,
      counters: this.#telemetry.counters,
      info: () => this.#info(),
      message: (message, acknowledge) => this.#service.handle(message, acknowledge),
      changed: () => this.#report.changed(),
    });
  }

  #makeJournal(storage: LogStorage, oomKills: OomKills): Journal {
    const { dir, retention_s, results_kept_max, bytes_max } = this.#config.journal;
    return new Journal({
      dir,
      retention_ms: retention_s * 1000,
      finished_max: results_kept_max,
      bytes_max,
      retry: storageRetry,
      oomKills,
      storage,
      trouble: (error) => {
        this.#log.error(
          { code: (error as NodeJS.ErrnoException).code },
          'the journal cannot be written; prompts are refused until it can',
        );
        this.#diskTrouble = true;
        this.#uplink.presence.condition('storage', `the journal cannot be written: ${error.message}`);
      },
      recovered: () => {
        this.#log.info('the journal can be written again');
        this.#diskTrouble = false;
        this.#uplink.presence.condition('storage', null);
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
      journal: this.#journal,
      delivery: new Delivery({
        uplink: this.#uplink,
        topics: this.#topics,
        result_retention_s: this.#config.journal.retention_s,
      }),
      admission: new Admission(this.#queue),
      supervisor: this.#model.supervisor,
      telemetry: this.#telemetry,
      log: this.#log,
      attempts_max: engine.attempts_max,
      origin: () => this.#origin(),
    });
  }

  #makeReport(manager: ServiceManager | null): ServiceReport {
    return new ServiceReport({
      manager,
      vitals: () => ({
        connected: this.#uplink.connected,
        model_loaded: this.#model.supervisor.info !== null,
        status: this.#uplink.presence.status,
        running: this.#queue.running,
        waits_for_disk: this.#diskTrouble,
        progressed_at: this.#model.supervisor.progressed_at,
      }),
      // The supervisor deals with a stalled engine by itself; this is for when it does not.
      stuck_ms: this.#config.engine.stall_ms + supervisionSlackMs,
      log: this.#log,
    });
  }

  #origin(): Origin {
    return {
      device: this.#config.device,
      model: this.#model.supervisor.info?.model.id ?? null,
      board: this.#boardNow.value,
    };
  }

  #info(): Omit<Info, 'protocol'> {
    const { name: profile, chosen_by: profile_chosen_by, settings: profile_settings } = this.#profile;
    const board = { ...this.#identity, profile, profile_chosen_by, profile_settings };
    return infoOf({ config: this.#config, boot: this.#boot, board, engine: this.#model.supervisor.info });
  }
}

/** Sensors are files, and a board warms up slowly: a flood of refusals does not read them for each. */
const boardKeptMs = 500;
/** How often results whose time has passed are looked for. */
const sweepMs = 30_000;
/** A full disk is looked at again after so long. */
const storageRetry = { min_ms: 500, max_ms: 10_000 };
/** An engine that stalled and is told to end may take its time. */
const supervisionSlackMs = 15_000;
/** What stopping takes at most when `limits.drain_ms` are over. */
const goodbyeMs = 15_000;
/** Longer than a prefill chunk takes on the slowest board. */
const cancelMs = 2000;
