import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '../../src/config/config.ts';
import { withoutSettings } from '../../src/config/environment.ts';
import { Daemon } from '../../src/daemon.ts';
import type { LogStorage } from '../../src/journal/log-file.ts';
import type { Logger } from '../../src/lib/logger.ts';
import type { OomKills } from '../../src/lib/oom-kills.ts';
import { Board } from '../../src/telemetry/board.ts';
import type { DiskPoint } from './dying-storage.ts';
import { leash } from './leash.ts';
import { Heard } from './wait.ts';

export const fakeEngine = join(import.meta.dirname, 'fake-engine.ts');
const daemonProcess = join(import.meta.dirname, 'daemon-process.ts');
/** A third of a start is compiling, and tests start hundreds. */
const compileCache = join(import.meta.dirname, '..', '..', 'node_modules', '.cache', 'compiled');
const profiles = join(import.meta.dirname, '..', '..', 'devices');

/** Settings as in the configuration file. */
export interface Settings {
  [name: string]: Settings | string | number | boolean | null | string[];
}

export interface DaemonOptions {
  url: string;
  settings?: Settings;
  /** What the fake engine loads; its last part says how. Null: what the store says. */
  model_dir?: string | null;
  engine_entry?: string;
  /** What else a process of its own finds in its environment. */
  env?: NodeJS.ProcessEnv;
  /** Where its journal is; by default a directory of its own that goes with it. */
  journal_dir?: string;
  /** What its journal writes to; in this process only. */
  storage?: LogStorage;
  /** What the kernel has counted; in this process only. */
  oomKills?: OomKills;
  /** Where a process of its own dies. */
  dies_at?: DiskPoint;
}

/** A line of the log: its level and whatever was logged. */
export type LogLine = { level: keyof Logger; text: string };

export interface RunningDaemon {
  log: Heard<LogLine>;
  /** Stops it; twice is as once. */
  stop(): Promise<void>;
}

/** A daemon in this process, with the fake engine in another. It has started, and nothing more. */
export function startDaemon(options: DaemonOptions): RunningDaemon {
  const journal = journalOf(options);
  const { config, profile } = loadConfig({
    file: null,
    env: daemonEnvironment(options, journal.dir),
    board: new Board().identity(),
    profiles_dir: profiles,
  });
  const log = new Heard<LogLine>();
  const daemon = new Daemon({
    config,
    profile,
    board: new Board(),
    log: recordingLogger(log),
    engine_entry: options.engine_entry ?? fakeEngine,
    ...(options.storage === undefined ? {} : { storage: options.storage }),
    ...(options.oomKills === undefined ? {} : { oomKills: options.oomKills }),
  });
  const started = daemon.start();
  let stopped: Promise<void> | null = null;
  return {
    log,
    stop: () => {
      stopped ??= started.then(() => daemon.stop()).finally(journal.remove);
      return stopped;
    },
  };
}

export interface DaemonProcess extends RunningDaemon {
  pid: number;
  child: ChildProcess;
  /** Ends the process as told and resolves with its exit code, null after a signal. */
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

/** The daemon as a process of its own: for tests that kill it, or watch it from outside. */
export function startDaemonProcess(options: DaemonOptions, wrapper: string[] = []): DaemonProcess {
  const journal = journalOf(options);
  const dies = options.dies_at === undefined ? [] : [JSON.stringify(options.dies_at)];
  const program = [daemonProcess, options.engine_entry ?? fakeEngine, ...dies];
  const env = { ...daemonEnvironment(options, journal.dir), ...options.env };
  const device = startProgram(program, env, wrapper);
  return {
    ...device,
    stop: async () => {
      await device.stop();
      journal.remove();
    },
  };
}

/** A program for Node, with what it says on stderr as its log. */
export function startProgram(
  program: string[],
  env: NodeJS.ProcessEnv = {},
  wrapper: string[] = [],
): DaemonProcess {
  const [command = '', ...args] = [...leash, ...wrapper, process.execPath, ...program];
  const child = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...withoutSettings(), NODE_COMPILE_CACHE: compileCache, ...env },
  });
  const log = new Heard<LogLine>();
  let rest = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) log.push({ level: 'info', text: line });
  });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const kill = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    return (await exited)[0];
  };
  return {
    log,
    child,
    pid: child.pid as number,
    kill,
    stop: async () => {
      await kill('SIGKILL');
    },
  };
}

/** Everything quick, so that a test that cuts something need not wait. */
const quick: Settings = {
  device: 'kitchen',
  mqtt: {
    reconnect_min_ms: 20,
    reconnect_max_ms: 200,
    will_delay_s: 0,
    keepalive_s: 5,
    response_topics: ['slmd/+/response/#'],
  },
  engine: { restart_min_ms: 20, restart_max_ms: 100 },
  telemetry: { interval_s: 0.2 },
  log: { level: 'debug', format: 'json' },
};

function journalOf({ journal_dir }: DaemonOptions): { dir: string; remove(): void } {
  if (journal_dir !== undefined) return { dir: journal_dir, remove: () => undefined };
  const dir = mkdtempSync(join(tmpdir(), 'slmd-journal-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

function daemonEnvironment(
  { url, settings = {}, model_dir = 'a-model' }: DaemonOptions,
  journalDir: string,
): NodeJS.ProcessEnv {
  const own = {
    mqtt: { url },
    journal: { dir: journalDir },
    engine: { cache_dir: join(journalDir, 'cache') },
    ...(model_dir === null ? {} : { model: { dir: model_dir } }),
  };
  return Object.assign({}, ...[quick, own, settings].map(environmentOf));
}

/** The variables that say the same as settings in a file. */
export function environmentOf(settings: Settings): NodeJS.ProcessEnv {
  return Object.fromEntries(variables(settings, 'SLMD'));
}

function variables(settings: Settings, prefix: string): [string, string][] {
  return Object.entries(settings).flatMap(([name, value]): [string, string][] => {
    const variable = `${prefix}_${name.toUpperCase()}`;
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return variables(value, variable);
    return [[variable, typeof value === 'string' ? value : JSON.stringify(value)]];
  });
}

function recordingLogger(log: Heard<LogLine>): Logger {
  const at =
    (level: LogLine['level']) =>
    (...logged: unknown[]) =>
      log.push({ level, text: JSON.stringify(logged) });
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } as Logger;
}
