import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { leash } from './leash.ts';
import { restartable } from './restartable.ts';
import { patienceMs, until } from './wait.ts';

export interface MosquittoOptions {
  /** Lines for mosquitto.conf besides the listener. */
  config?: string;
  /** User names and passwords; without them everybody may connect. */
  passwords?: { [user: string]: string };
  /** Text of the ACL file. */
  acl?: string;
  /** The whole of mosquitto.conf, in place of everything else. */
  whole?: (port: number, dir: string) => string;
}

export interface Mosquitto {
  port: number;
  url: string;
  /** What the broker has logged so far. */
  log(): string;
  /** Resolves when what was published before is in its persistence file. */
  saved(): Promise<void>;
  /** Puts other passwords and ACLs in force for connections to come. */
  reconfigure(options: Pick<MosquittoOptions, 'passwords' | 'acl'>): void;
  /** Ends the process; its persistence, if it has one, stays. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Starts it again, on the same port, after `kill`. */
  start(): Promise<void>;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
}

/**
 * Why tests with a real Mosquitto are skipped, or false.
 *
 * @throws with CI=true, where nothing may be skipped
 */
export function mosquittoMissing(): string | false {
  return commandMissing('mosquitto', ['-h']);
}

export function commandMissing(command: string, args: string[]): string | false {
  if (spawnSync(command, args, { env: withSbin }).error === undefined) return false;
  if (process.env.CI === 'true') throw new Error(`${command} is not installed, and with CI=true it must be`);
  return `${command} is not installed`;
}

/** Debian's Mosquitto lies where only the path of root leads. */
const withSbin = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };

/** A real Mosquitto on a free loopback port, with all its files in a temporary directory. */
export async function startMosquitto(options: MosquittoOptions = {}): Promise<Mosquitto> {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-mosquitto-'));
  const port = await freePort();
  const paths = { config: join(dir, 'conf'), passwords: join(dir, 'passwords'), acl: join(dir, 'acl') };
  writeAccess(paths, options);
  writeFileSync(paths.config, configText(port, dir, paths, options));
  const [command = '', ...args] = [...leash, 'mosquitto', '-c', paths.config];
  const { start, kill, tell } = restartable(
    () => spawn(command, args, { stdio: 'ignore', env: withSbin }),
    (broker) => listening(port, broker),
  );
  await start();
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    log: () => readFileSync(join(dir, 'log'), 'utf8'),
    saved: async () => {
      const now = Date.now();
      const file = join(dir, 'mosquitto.db');
      const later = () => existsSync(file) && statSync(file).mtimeMs > now;
      await until(() => later() || undefined, 'the broker saves what it has');
    },
    reconfigure: (access) => {
      writeAccess(paths, access);
      tell('SIGHUP');
    },
    kill,
    start,
    stop: async () => {
      await kill('SIGKILL');
      rmSync(dir, { recursive: true });
    },
  };
}

function configText(
  port: number,
  dir: string,
  paths: { passwords: string; acl: string },
  { config = '', passwords, acl, whole }: MosquittoOptions,
): string {
  // Started by root, Mosquitto would give up its rights and then not find its files.
  const user = process.getuid?.() === 0 ? ['user root'] : [];
  if (whole !== undefined) return [whole(port, dir), ...user, ''].join('\n');
  return [
    `listener ${port} 127.0.0.1`,
    ...user,
    `persistence_location ${dir}/`,
    `log_dest file ${dir}/log`,
    'log_type all',
    // Else small packets wait 40 ms for each other, and tests with them.
    'set_tcp_nodelay true',
    passwords === undefined ? 'allow_anonymous true' : `password_file ${paths.passwords}`,
    ...(acl === undefined ? [] : [`acl_file ${paths.acl}`]),
    config,
    '',
  ].join('\n');
}

function writeAccess(
  paths: { passwords: string; acl: string },
  { passwords, acl }: Pick<MosquittoOptions, 'passwords' | 'acl'>,
): void {
  if (acl !== undefined) writeFileSync(paths.acl, acl);
  if (passwords === undefined) return;
  const lines = Object.entries(passwords).map(([user, password]) => `${user}:${password}\n`);
  writeFileSync(paths.passwords, lines.join(''), { mode: 0o600 });
  spawnSync('mosquitto_passwd', ['-U', paths.passwords]);
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** A broker says nowhere that it listens: it is asked until it does. */
async function listening(port: number, broker: ChildProcess): Promise<void> {
  const end = performance.now() + patienceMs;
  while (performance.now() < end && broker.exitCode === null) {
    const socket = connect(port, '127.0.0.1');
    const answer = await once(socket, 'connect').catch(() => null);
    socket.destroy();
    if (answer !== null) return;
    await pause(10);
  }
  throw new Error(`mosquitto does not listen on port ${port} (exit code ${broker.exitCode})`);
}
