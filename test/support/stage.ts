import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrokerKind, RunningBroker } from './brokers.ts';
import { type DaemonOptions, type RunningDaemon, startDaemon } from './daemon.ts';
import { type RequesterOptions, TestRequester } from './requester.ts';
import { inTime } from './wait.ts';

interface Stoppable {
  stop(): Promise<unknown>;
}

/** A test's context, or a suite's `{ after }` from node:test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

/** What a test started; all of it is stopped in reverse when the test is over, however it ends. */
export class Stage {
  readonly #started: Stoppable[] = [];

  constructor(scope: Scope) {
    scope.after(() => this.clear());
  }

  /** For what is no test: everything that the work starts is stopped when it ends. */
  static async during<T>(work: (stage: Stage) => Promise<T>): Promise<T> {
    let clean = async () => {};
    const stage = new Stage({
      after: (end) => {
        clean = end;
      },
    });
    try {
      return await work(stage);
    } finally {
      await clean();
    }
  }

  add<T extends Stoppable>(started: T): T {
    this.#started.push(started);
    return started;
  }

  /** What does not stop fails the test, and keeps nothing else from being stopped. */
  async clear(): Promise<void> {
    const errors: unknown[] = [];
    for (const started of this.#started.splice(0).reverse())
      await inTime(started.stop(), 'what a test started stops').catch((error) => errors.push(error));
    if (errors.length > 0) throw new AggregateError(errors, 'what a test started does not stop');
  }

  /** An empty directory that goes with the others. */
  directory(): string {
    const dir = mkdtempSync(join(tmpdir(), 'slmd-stage-'));
    this.add({ stop: async () => rmSync(dir, { recursive: true, force: true }) });
    return dir;
  }

  daemon(options: DaemonOptions): RunningDaemon {
    return this.add(startDaemon(options));
  }

  async requester(options: RequesterOptions): Promise<TestRequester> {
    const requester = await TestRequester.connect(options);
    this.add({ stop: () => requester.close() });
    return requester;
  }

  /** A broker, and a requester that hears everything. */
  async broker(kind: BrokerKind): Promise<Omit<ReadyStage, 'daemon'>> {
    const broker = this.add(await kind.start());
    return { broker, requester: await this.requester({ url: broker.url, version: kind.version }) };
  }

  /** The same, and a daemon that is ready. */
  async ready(kind: BrokerKind, options: Omit<DaemonOptions, 'url'> = {}): Promise<ReadyStage> {
    const { broker, requester } = await this.broker(kind);
    const settings = { ...options.settings, mqtt: { protocol: kind.protocol, ...mqttOf(options) } };
    const daemon = this.daemon({ ...options, url: broker.url, settings });
    await requester.ready();
    return { broker, requester, daemon };
  }
}

export interface ReadyStage {
  broker: RunningBroker;
  requester: TestRequester;
  daemon: RunningDaemon;
}

function mqttOf({ settings }: Omit<DaemonOptions, 'url'>): object {
  return typeof settings?.mqtt === 'object' && settings.mqtt !== null ? settings.mqtt : {};
}
