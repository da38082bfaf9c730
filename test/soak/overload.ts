import { setTimeout as pause } from 'node:timers/promises';
import mqtt, { type MqttClient } from 'mqtt';
import type { Result } from '../../src/contract/result.ts';
import { type Topics, topicsOf } from '../../src/contract/topics.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { randomNumbers } from '../support/random.ts';
import { Stage } from '../support/stage.ts';
import { until } from '../support/wait.ts';
import { Device, type Sample } from './device.ts';
import { homePrompt } from './prompts.ts';

export interface OverloadOptions {
  seed: number;
  seconds: number;
  /** How many times as many prompts as the device answers. */
  factor: number;
  progress(second: number): void;
}

export interface OverloadReport {
  seed: number;
  seconds: number;
  /** Answers per second, when it is asked just enough. */
  service_rate: number;
  /** Prompts per second that the broker took. */
  offered_rate: number;
  /** Answers per second meanwhile. */
  served_rate: number;
  prompts: number;
  /** By status, and by code for what is no answer. */
  outcomes: Record<string, number>;
  without_result: number;
  deadline_ms: number;
  /**
   * Of what was admitted, which is what was not refused. As a deadline counts: from the device's receipt; what
   * waits on the broker before that is the broker's. An expired one took for ever.
   */
  admitted_p50_ms: number;
  admitted_p95_ms: number;
  /** Of all: from sending to hearing, the wait on the broker included. */
  heard_p95_ms: number;
  samples: Sample[];
}

const device = 'overload';
const measuredMs = 3000;
const tickMs = 10;
const sampleMs = 250;
/** Several times what a full queue takes, on a machine that is busy with the flood besides. */
const deadlineMs = 20_000;
/**
 * Where there is memory, a heap grows because it may. With no more than a small board has it shows what it needs.
 * The nursery must be small beside it: where it might not fit into the rest, V8 collects the whole heap each time.
 */
const heap = '--max-old-space-size=64 --max-semi-space-size=4';

/** Sends a device several times as many prompts as it can answer, and counts what becomes of each. */
export function overload(options: OverloadOptions): Promise<OverloadReport> {
  return Stage.during(async (stage) => {
    const broker = stage.add(await startMosquitto({ config: 'max_queued_messages 0' }));
    const slmd = stage.add(
      new Device({
        url: broker.url,
        journal_dir: stage.directory(),
        settings: { device },
        node_options: heap,
      }),
    );
    slmd.start();
    const flood = stage.add(await Flood.connect(broker.url, options.seed));
    await flood.ready();
    const service_rate = await flood.serviceRate();
    const samples: Sample[] = [];
    const sampling = setInterval(
      () => samples.push(...[slmd.sample()].filter((sample) => sample !== null)),
      sampleMs,
    );
    const offered_rate = await flood.run(service_rate * options.factor, options.seconds, options.progress);
    clearInterval(sampling);
    const served_rate = flood.served / options.seconds;
    await flood.answered().catch(() => undefined);
    return {
      ...flood.report(),
      served_rate,
      seed: options.seed,
      seconds: options.seconds,
      service_rate,
      offered_rate,
      samples,
    };
  });
}

/** What a device may say to a prompt that it cannot serve now. */
const refusals: ReadonlySet<string> = new Set(['queue_full', 'deadline_unmeetable']);

interface Sent {
  at: number;
  /** Null until there is a result. */
  took_ms: number | null;
  /** From the device's receipt to its end, of an answer. */
  total_ms: number;
  outcome: string;
}

class Flood {
  readonly #client: MqttClient;
  readonly #topics: Topics;
  readonly #random: () => number;
  readonly #sent = new Map<string, Sent>();
  #unanswered = 0;
  #ready = false;
  #count = 0;

  private constructor(client: MqttClient, seed: number) {
    this.#client = client;
    this.#topics = topicsOf('slmd', device);
    this.#random = randomNumbers(seed);
    client.on('message', (topic, payload) => this.#onMessage(topic, payload));
  }

  static async connect(url: string, seed: number): Promise<Flood> {
    const client = await mqtt.connectAsync(url, { protocolVersion: 5 });
    const flood = new Flood(client, seed);
    await client.subscribeAsync([flood.#topics.status, flood.#topics.result('+')], { qos: 1 });
    return flood;
  }

  stop(): Promise<void> {
    return this.#client.endAsync(true);
  }

  ready(): Promise<true> {
    return until(() => this.#ready || undefined, 'the device is ready');
  }

  /** With a few at a time the device is never idle, and nothing is refused. */
  async serviceRate(): Promise<number> {
    const end = performance.now() + measuredMs;
    let answered = 0;
    const one = async () => {
      for (; performance.now() < end; answered++) {
        const sent = this.#send();
        await until(() => sent.took_ms ?? undefined, 'an answer');
      }
    };
    await Promise.all([one(), one(), one()]);
    this.#sent.clear();
    return (answered / measuredMs) * 1000;
  }

  /** Sends at this rate, whatever comes back; returns the rate that it reached. */
  async run(perSecond: number, seconds: number, progress: (second: number) => void): Promise<number> {
    const start = performance.now();
    for (let elapsed = 0; elapsed < seconds * 1000; elapsed = performance.now() - start) {
      while (this.#sent.size < (elapsed / 1000) * perSecond) this.#send();
      progress(Math.floor(elapsed / 1000));
      await pause(tickMs);
    }
    return this.#sent.size / ((performance.now() - start) / 1000);
  }

  /** Answers so far. */
  get served(): number {
    return [...this.#sent.values()].filter(({ outcome }) => outcome === 'ok').length;
  }

  async answered(): Promise<void> {
    await until(() => this.#unanswered === 0 || undefined, 'every prompt has a result', 60_000);
  }

  report() {
    const all = [...this.#sent.values()];
    const outcomes: Record<string, number> = {};
    for (const { outcome } of all) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    const admitted = all
      .filter(({ outcome }) => !refusals.has(outcome))
      .map(({ outcome, total_ms }) => (outcome === 'ok' ? total_ms : Infinity))
      .sort((a, b) => a - b);
    const percentile = (share: number) => admitted[Math.ceil(admitted.length * share) - 1] ?? Infinity;
    const heard = all.map(({ took_ms }) => took_ms ?? Infinity).sort((a, b) => a - b);
    return {
      heard_p95_ms: heard[Math.ceil(heard.length * 0.95) - 1] ?? Infinity,
      prompts: all.length,
      outcomes,
      without_result: all.filter(({ took_ms }) => took_ms === null).length,
      deadline_ms: deadlineMs,
      admitted_p50_ms: percentile(0.5),
      admitted_p95_ms: percentile(0.95),
    };
  }

  #send(): Sent {
    const id = `flood-${this.#count++}`;
    const sent: Sent = { at: performance.now(), took_ms: null, total_ms: Infinity, outcome: 'none' };
    this.#sent.set(id, sent);
    this.#unanswered++;
    // All of one priority: lower ones would wait for as long as others come.
    const question = {
      ...homePrompt(id, this.#random),
      priority: 'normal',
      deadline_ms: deadlineMs,
      stream: false,
    };
    this.#client.publish(this.#topics.prompt, JSON.stringify(question), { qos: 1 });
    return sent;
  }

  #onMessage(topic: string, payload: Buffer): void {
    if (topic === this.#topics.status) this.#ready = JSON.parse(payload.toString()).state === 'ready';
    if (topic === this.#topics.status || payload.length === 0) return;
    const { id, status, error, timings } = JSON.parse(payload.toString()) as Result;
    const sent = this.#sent.get(id);
    // Asked before the flood.
    if (sent === undefined) return;
    if (sent.took_ms !== null) sent.outcome = `${sent.outcome} twice`;
    else {
      sent.took_ms = performance.now() - sent.at;
      sent.total_ms = timings?.total_ms ?? Infinity;
      sent.outcome = error?.code ?? status;
      this.#unanswered--;
    }
  }
}
