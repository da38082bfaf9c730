import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Life } from '../support/lives.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { startProxy } from '../support/proxy.ts';
import { randomNumbers } from '../support/random.ts';
import { Stage } from '../support/stage.ts';
import { inTime, until } from '../support/wait.ts';
import { Asker, type Question } from './asker.ts';
import { Books, type Verdict } from './books.ts';
import { Device, type Sample } from './device.ts';
import { type Fault, faults, type Mortal, type Struck } from './faults.ts';
import { homePrompt } from './prompts.ts';
import { mountSmallDisk } from './small-disk.ts';

/** Which broker, and the newest MQTT that it speaks. */
export interface SoakBroker {
  name: string;
  version: 4 | 5;
  start(stage: Stage): Promise<Mortal>;
}

export interface SoakOptions {
  broker?: SoakBroker;
  seed: number;
  prompts: number;
  /** Ends it early, with what was asked by then. */
  minutes: number;
  /** A fault after about so many answers. */
  prompts_per_fault: number;
  progress(answered: number): void;
}

/** How often a fault struck, and how long after its beginning the next answer came. */
export interface FaultReport {
  name: string;
  times: number;
  recoveries_ms: number[];
}

export interface SoakReport {
  broker: string;
  seed: number;
  seconds: number;
  faults: FaultReport[];
  /** Why there was no full disk, or null. */
  disk_skipped: string | null;
  verdict: Verdict;
  asked_again: number;
  /** Ids whose results a killed broker took with it before anybody heard them. */
  reminded: string[];
  /** Ids that were accepted, and not answered although no broker was killed. */
  forgotten: string[];
  /** Ids that the device still remembers at the end. */
  remembered: number;
  /** Of those, the ones whose retained result the killed broker had lost; they came again when asked. */
  retained_lost: number;
  /** Of those, the ones with another retained result than the one that was heard. */
  retained_wrong: number;
  /** Ids in the journal that are not at their end. */
  open: string[];
  samples: Sample[];
}

const device = 'soak';
const inFlight = 12;
const samplesAim = 60;
const streams = 3;
/** No answer for so long, whatever struck: the device does not recover. */
const patienceMs = 90_000;

/** The default bounds of a device, and everything quick: what waits here is only waiting. */
const settings = {
  device,
  mqtt: {
    reconnect_min_ms: 20,
    reconnect_max_ms: 500,
    will_delay_s: 0,
    keepalive_s: 1,
    connect_timeout_ms: 1000,
  },
  engine: { restart_min_ms: 20, restart_max_ms: 200, stall_ms: 2000, threads: 1 },
  telemetry: { interval_s: 1 },
  log: { level: 'debug' },
};

/** As a broker has to be for devices that lose nothing. */
const mosquitto: SoakBroker = {
  name: 'Mosquitto',
  version: 5,
  start: () => startMosquitto({ config: 'persistence true\nautosave_interval 1\nmax_queued_messages 0\n' }),
};

/**
 * Asks a device many prompts while one thing after the other dies around it, and keeps the books.
 *
 * @throws where the device does not recover from a fault; what it lost is in the report
 */
export function soak(options: SoakOptions): Promise<SoakReport> {
  return Stage.during((stage) => new Soak(options).run(stage));
}

class Soak {
  readonly #options: SoakOptions;
  readonly #broker: SoakBroker;
  /** What is asked, which fault strikes, and how: each in an order of its own, whatever the others take. */
  readonly #random: Record<'prompts' | 'faults' | 'details', () => number>;
  readonly #books = new Books();
  readonly #reports = new Map<string, FaultReport>();
  readonly #questions: Question[] = [];
  readonly #samples: Sample[] = [];
  #answered = 0;
  #onAnswer: () => void = () => undefined;

  constructor(options: SoakOptions) {
    this.#options = options;
    this.#broker = options.broker ?? mosquitto;
    const stream = (number: number) => randomNumbers(options.seed * streams + number);
    this.#random = { prompts: stream(0), faults: stream(1), details: stream(2) };
  }

  async run(stage: Stage): Promise<SoakReport> {
    const { seed } = this.#options;
    const started = performance.now();
    const { struck, disk_skipped } = await this.#build(stage);
    struck.device.start();
    const asking = this.#ask(struck.asker, started);
    await Promise.all([this.#strike(struck, asking), asking]);
    await this.#settled(struck.device);
    const retained = await this.#checkRetained(struck);
    assert.equal(await struck.device.kill('SIGTERM'), 0, 'it stops in good order');
    return {
      broker: this.#broker.name,
      seed,
      seconds: (performance.now() - started) / 1000,
      faults: [...this.#reports.values()],
      disk_skipped,
      verdict: this.#books.verdict(),
      asked_again: struck.asker.asked_again,
      reminded: struck.asker.reminded,
      forgotten: struck.asker.forgotten,
      ...retained,
      open: this.#open(struck.device),
      samples: this.#samples,
    };
  }

  async #build(stage: Stage): Promise<{ struck: Struck; disk_skipped: string | null }> {
    const dir = stage.directory();
    const mounted = mountSmallDisk(join(dir, 'disk'));
    const disk = typeof mounted === 'string' ? null : stage.add(mounted);
    const { version } = this.#broker;
    const broker = stage.add(await this.#broker.start(stage));
    const proxy = stage.add(await startProxy(broker));
    const slmd = stage.add(
      new Device({
        url: proxy.url,
        journal_dir: disk?.dir ?? join(dir, 'journal'),
        settings,
        logged: (line) => this.#books.logged(line),
      }),
    );
    const asker = stage.add(await Asker.connect({ url: broker.url, version, device, books: this.#books }));
    const restart = () => {
      this.#readJournal(slmd);
      // A session of MQTT 5 is taken up in 3.1.1, and the other way round.
      slmd.start({ mqtt: { protocol: this.#random.details() < 0.5 ? 'auto' : '3.1.1' } });
    };
    return {
      struck: { device: slmd, broker, proxy, disk, asker, restart },
      disk_skipped: typeof mounted === 'string' ? mounted : null,
    };
  }

  /** Several at a time, until there are enough or the time is over. */
  async #ask(asker: Asker, started: number): Promise<void> {
    const { prompts, minutes, progress } = this.#options;
    const end = started + minutes * 60_000;
    const askOne = async () => {
      while (this.#questions.length < prompts && performance.now() < end) {
        const question = homePrompt(`soak-${this.#questions.length}`, this.#random.prompts);
        this.#questions.push(question);
        this.#books.asked(question.id, question.prompt);
        await asker.ask(question);
        progress(++this.#answered);
        this.#onAnswer();
      }
    };
    await Promise.all(Array.from({ length: inFlight }, askOne));
  }

  /** One fault after the other, each after some answers; every kind once before any comes again. */
  async #strike(struck: Struck, asking: Promise<void>): Promise<void> {
    const { prompts, prompts_per_fault } = this.#options;
    let bag: Fault[] = [];
    let over = false;
    void asking.then(() => {
      over = true;
      this.#onAnswer();
    });
    for (let next = this.#answered; !over; ) {
      next += Math.ceil(prompts_per_fault * (0.5 + this.#random.faults()));
      await this.#answers(next, struck, () => over);
      if (over) return;
      // Towards the end the daemon is spared: what grows in a process shows in one that lives.
      const spare = this.#answered > prompts * 0.75;
      const usable = faults.filter(
        ({ name, spares_daemon }) =>
          (struck.disk !== null || name !== 'disk full') && (spares_daemon || !spare),
      );
      bag = bag.filter((fault) => usable.includes(fault));
      if (bag.length === 0) bag = [...usable];
      const [fault] = bag.splice(Math.floor(this.#random.faults() * bag.length), 1) as [Fault];
      await this.#strikeOnce(fault, struck);
      next = this.#answered;
    }
  }

  async #strikeOnce(fault: Fault, struck: Struck): Promise<void> {
    const report = this.#reports.get(fault.name) ?? { name: fault.name, times: 0, recoveries_ms: [] };
    this.#reports.set(fault.name, report);
    const began = performance.now();
    await fault.strike(struck, this.#random.details);
    report.times++;
    await this.#answers(this.#answered + 1, struck, () => struck.asker.pending === 0);
    report.recoveries_ms.push(performance.now() - began);
  }

  /** Resolves when so many are answered, or when it is over; takes samples meanwhile. */
  async #answers(count: number, { device }: Struck, over: () => boolean): Promise<void> {
    while (this.#answered < count && !over()) {
      const answer = new Promise<void>((resolve) => {
        this.#onAnswer = resolve;
      });
      await inTime(
        answer,
        `an answer after ${this.#answered}; the log ends with\n${device.tail}`,
        patienceMs,
      );
      const due = (this.#samples.length + 1) * (this.#options.prompts / samplesAim);
      const sample = this.#answered >= due ? device.sample() : null;
      if (sample !== null) this.#samples.push(sample);
    }
  }

  /** The last fault may have come between a result and its acknowledgement. What stays open is in the report. */
  async #settled(device: Device): Promise<void> {
    await until(() => this.#open(device).length === 0 || undefined, 'everything is at its end').catch(
      () => undefined,
    );
  }

  #open(device: Device): string[] {
    const lives = [...this.#readJournal(device)];
    return lives.filter(([, life]) => !life.delivered).map(([id]) => id);
  }

  #readJournal(device: Device): Map<string, Life> {
    const lives = device.journal();
    for (const [id, { results }] of lives) for (const result of results) this.#books.fixed(id, result);
    return lives;
  }

  /** What somebody finds who comes late: for each id that is remembered one retained value, the one that was heard. */
  async #checkRetained({ broker, device: slmd, asker }: Struck) {
    const known = this.#readJournal(slmd);
    const remembered = this.#questions.filter(({ id }) => known.has(id));
    const { version } = this.#broker;
    const values = await Asker.retained({ url: broker.url, version, device }, [...known.keys()]);
    const missing = remembered.filter(({ id }) => !values.has(id));
    const wrong = [...values].filter(([id, payload]) => !this.#books.isContentOf(id, payload));
    await inTime(Promise.all(missing.map((question) => asker.ask(question))), 'they come again');
    return {
      remembered: remembered.length,
      retained_lost: missing.length,
      retained_wrong: wrong.length,
    };
  }
}
