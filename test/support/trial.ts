import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { BrokerKind, RunningBroker } from './brokers.ts';
import {
  type DaemonOptions,
  type DaemonProcess,
  type Settings,
  startDaemonProcess,
  startProgram,
} from './daemon.ts';
import { type KillPoint, watchFor } from './kill-points.ts';
import { kept, Ledger } from './ledger.ts';
import { type FaultProxy, startProxy } from './proxy.ts';
import type { TestRequester } from './requester.ts';
import { Stage } from './stage.ts';
import { temporaryDir } from './temporary.ts';
import { inTime } from './wait.ts';

const naiveDevice = join(import.meta.dirname, 'naive-device.ts');

export interface TrialOptions {
  settings?: Settings;
  device?: string;
  /** The control: a device that promises nothing. */
  naive?: boolean;
  /** The broker, where it is another than the kind's own. */
  broker?: RunningBroker;
}

interface Parts {
  journal_dir: string;
  broker: RunningBroker;
  proxy: FaultProxy;
  requester: TestRequester;
  ledger: Ledger;
}

/** A device that dies and comes back, the network before it, and the ledger of what became of its prompts. */
export class Trial {
  readonly stage: Stage;
  readonly broker: RunningBroker;
  /** Between the device and its broker; requester and ledger do without. */
  readonly proxy: FaultProxy;
  readonly requester: TestRequester;
  readonly ledger: Ledger;
  readonly journal_dir: string;
  readonly #launch: (dies: Pick<DaemonOptions, 'dies_at'>) => DaemonProcess;
  #device: DaemonProcess | null = null;

  private constructor(
    stage: Stage,
    { broker, proxy, requester, ledger, journal_dir }: Parts,
    launch: (dies: Pick<DaemonOptions, 'dies_at'>) => DaemonProcess,
  ) {
    this.stage = stage;
    this.broker = broker;
    this.proxy = proxy;
    this.requester = requester;
    this.ledger = ledger;
    this.journal_dir = journal_dir;
    this.#launch = launch;
  }

  static async open(t: TestContext, kind: BrokerKind, options: TrialOptions = {}): Promise<Trial> {
    const stage = new Stage(t);
    const { device = 'kitchen', settings = {}, naive = false } = options;
    const [journal_dir, model_dir] = [temporaryDir(t), temporaryDir(t)];
    const broker = stage.add(options.broker ?? (await kind.start()));
    const proxy = stage.add(await startProxy(broker));
    const { version } = kind;
    const requester = await stage.requester({ url: broker.url, version, device });
    const kept = naive ? { journal_dir: null, model_dir: null } : { journal_dir, model_dir };
    const ledger = stage.add(await Ledger.open({ url: broker.url, version, device, ...kept }));
    const mqtt = { protocol: kind.protocol, ...(settings.mqtt as Settings | undefined) };
    const daemon = { url: proxy.url, journal_dir, model_dir, settings: { device, ...settings, mqtt } };
    const launch = naive
      ? () => startProgram([naiveDevice, proxy.url, String(version), device])
      : (dies: Pick<DaemonOptions, 'dies_at'>) => startDaemonProcess({ ...daemon, ...dies });
    return new Trial(stage, { broker, proxy, requester, ledger, journal_dir }, launch);
  }

  get device(): DaemonProcess {
    return this.#device ?? assert.fail('no device has been started');
  }

  /** The device, with the journal that the one before has left. It may die by itself at a point of the disk. */
  start(point?: KillPoint): DaemonProcess {
    const dies = point !== undefined && 'disk' in point ? { dies_at: point.disk } : {};
    const device = this.stage.add(this.#launch(dies));
    if (point !== undefined && 'wire' in point)
      watchFor(this.proxy, point.wire, () => void device.child.kill('SIGKILL'));
    this.#device = device;
    return device;
  }

  /** Resolves when the device is dead that was started to die. */
  async died(): Promise<void> {
    const { child, log } = this.device;
    if (child.exitCode === null && child.signalCode === null)
      await inTime(once(child, 'exit'), 'the device dies').catch((error: Error) => {
        throw new Error(`${error.message}\n${log.all.map(({ text }) => text).join('\n')}`);
      });
    assert.equal(child.signalCode, 'SIGKILL');
    this.proxy.watch(() => undefined);
  }

  /** Resolves when the device is ready again, of what was heard since then; else the error has its log. */
  async back(since: number): Promise<void> {
    await this.requester.ready({ since }).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.device.log.all.map(({ text }) => text).join('\n')}`);
    });
  }

  /** Sends so many prompts one right after the other; returns their ids when the broker has them. */
  async send(count: number, prompt: string): Promise<string[]> {
    const requests = Array.from({ length: count }, () => this.ledger.request(prompt));
    return Promise.all(requests.map((request) => this.requester.send(request)));
  }

  /** Waits until every prompt is answered, stops the device in good order, and holds it to its promises. */
  async end(): Promise<void> {
    await this.ledger.answered();
    assert.equal(await inTime(this.device.kill('SIGTERM'), 'the device stops'), 0);
    assert.deepEqual(await this.ledger.verdict(), kept);
    assert.deepEqual(this.proxy.strayAcks, []);
  }
}
