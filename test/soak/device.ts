import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { withoutSettings } from '../../src/config/environment.ts';
import { packageRoot } from '../../src/lib/package-root.ts';
import { environmentOf, type Settings } from '../support/daemon.ts';
import { journalFile } from '../support/journal.ts';
import { leash } from '../support/leash.ts';
import { type Life, readLives } from '../support/lives.ts';
import { childrenOf, handlesOf, rssBytesOf } from '../support/processes.ts';
import { until } from '../support/wait.ts';

/** What a device takes of its machine, at one moment. */
export interface Sample {
  daemon_rss_bytes: number;
  engine_rss_bytes: number;
  daemon_handles: number;
  engine_handles: number;
  journal_bytes: number;
}

export interface DeviceOptions {
  url: string;
  journal_dir: string;
  settings: Settings;
  /** What Node is told besides, for the daemon alone. */
  node_options?: string;
  /** A line of its log. */
  logged?(line: string): void;
}

/** The last lines of its log, for a run that fails. */
const linesKept = 40;

/** The product as it is installed: `slmd run` from `dist/`, with its engine and the model that ships. */
export class Device {
  readonly lines: string[] = [];
  readonly #options: DeviceOptions;
  #child: ChildProcess | null = null;
  #exited: Promise<unknown[]> = Promise.resolve([]);

  constructor(options: DeviceOptions) {
    this.#options = options;
  }

  /** Starts the process; settings may differ from the last one's. */
  start(settings: Settings = {}): void {
    const { url, journal_dir, node_options = '' } = this.#options;
    const program = [process.execPath, join(packageRoot(), 'dist', 'slmd.js'), 'run'];
    const [command = '', ...args] = [...leash, ...program];
    const own: Settings = {
      mqtt: { url },
      journal: { dir: journal_dir },
      // The disk is the journal's alone, and its bounds are what is looked at.
      engine: { cache_dir: join(journal_dir, 'cache'), prefix_bytes_max: 0 },
      log: { format: 'json' },
    };
    const env = [own, this.#options.settings, settings].map(environmentOf);
    this.#child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: Object.assign(withoutSettings(), { NODE_OPTIONS: node_options }, ...env),
    });
    this.#exited = once(this.#child, 'close');
    this.#readLog(this.#child);
  }

  get pid(): number {
    return this.#child?.pid as number;
  }

  /** The engine's process, once there is one. */
  async enginePid(): Promise<number> {
    return until(() => childrenOf(this.pid)[0], `the daemon has an engine; its log ends with\n${this.tail}`);
  }

  /** Ends the process as told, and resolves with its exit code, null after a signal. */
  async kill(signal: NodeJS.Signals): Promise<number | null> {
    this.#child?.kill(signal);
    return (await this.#exited)[0] as number | null;
  }

  async stop(): Promise<void> {
    if (this.#child === null || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    await this.kill('SIGKILL');
  }

  /** Null while one of the two processes is not there. */
  sample(): Sample | null {
    const engine = childrenOf(this.pid)[0] ?? 0;
    const [daemon_rss_bytes, engine_rss_bytes] = [this.pid, engine].map(rssBytesOf);
    const [daemon_handles, engine_handles] = [this.pid, engine].map(handlesOf);
    if (!daemon_rss_bytes || !engine_rss_bytes || !daemon_handles || !engine_handles) return null;
    const journal_bytes = statSync(journalFile(this.#options.journal_dir)).size;
    return { daemon_rss_bytes, engine_rss_bytes, daemon_handles, engine_handles, journal_bytes };
  }

  journal(): Map<string, Life> {
    return readLives(this.#options.journal_dir);
  }

  get tail(): string {
    return this.lines.join('\n');
  }

  #readLog(child: ChildProcess): void {
    let rest = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#onLine(line);
    });
  }

  #onLine(line: string): void {
    this.lines.push(line);
    if (this.lines.length > linesKept) this.lines.shift();
    this.#options.logged?.(line);
  }
}
