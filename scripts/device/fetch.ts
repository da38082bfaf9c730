import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { aptPatience } from '../debian.ts';
import { cacheDirectory } from '../package/runtime-tree.ts';

/** Debian's release that has all that is needed: an emulator of version 10, and the board's libraries. */
export const suite = 'trixie';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Something that a tier needs and that cannot be had here; the message says why. */
export class Missing extends Error {}

/** Runs a program to its end. @throws Missing where it is not installed or fails */
export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', env });
  if (error !== undefined) throw new Missing(`${command} is not installed`);
  if (status === 0) return stdout;
  throw new Missing(
    `${command} ${args.slice(0, 3).join(' ')} ended with ${status}: ${stderr.trim().slice(-500)}`,
  );
}

/** The mirror that this machine takes Debian's packages from. */
export function mirror(): string {
  const known = () => {
    const targets = run('apt-get', ['indextargets', '--format', '$(SITE) $(ORIGIN)', 'Created-By: Packages']);
    const lines = targets.split('\n').map((line) => line.split(' '));
    return lines.find(([, origin]) => origin === 'Debian')?.[0];
  };
  const site = known();
  if (site !== undefined) return site;
  // Until it has asked for the first time, apt does not know whose packages they are.
  run('apt-get', [...aptPatience, '-qq', 'update']);
  const asked = known();
  if (asked === undefined) throw new Missing('this machine takes no packages from Debian');
  return asked;
}

/**
 * Debian packages of `suite`, unpacked into the cache and not installed: whatever this machine runs, it is not
 * changed, and nobody needs to be root.
 *
 * @param packages names; one that ends with `>` stands for the package that it depends on first, one that ends with
 *   `+` for itself and all that it needs, the C library included
 */
export function unpackedPackages(
  name: string,
  packages: readonly string[],
  architecture: 'amd64' | 'arm64' = 'amd64',
): string {
  const dir = join(cacheDirectory(), 'device', `${name}-${suite}`);
  if (existsSync(dir)) return dir;
  if (!existsSync(keyring))
    throw new Missing(`there is no ${keyring}; on Debian: apt-get install debian-archive-keyring`);
  const making = `${dir}.${process.pid}`;
  try {
    const options = privateApt(join(making, 'apt'), architecture);
    run('apt-get', [...options, 'update', '-qq']);
    const named = packages.flatMap((name) => namedBy(name, options));
    const debs = join(making, 'debs');
    mkdirSync(debs);
    run('sh', ['-c', 'cd "$1"; shift; apt-get "$@"', 'sh', debs, ...options, '-qq', 'download', ...named]);
    for (const deb of readdirSync(debs)) run('dpkg-deb', ['-x', join(debs, deb), join(making, 'root')]);
    renameSync(join(making, 'root'), dir);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return dir;
}

function namedBy(name: string, apt: readonly string[]): string | string[] {
  if (name.endsWith('>')) return firstOf(name.slice(0, -1), apt);
  return name.endsWith('+') ? closureOf(name.slice(0, -1), apt) : name;
}

/** What apt would install where nothing is installed yet. */
function closureOf(name: string, apt: readonly string[]): string[] {
  const plan = run('apt-get', [...apt, '--simulate', '--no-install-recommends', 'install', name]);
  return [...plan.matchAll(/^Inst (\S+)/gm)].map(([, each = '']) => each);
}

function firstOf(name: string, apt: readonly string[]): string {
  const [, first] = /Depends: (\S+)/.exec(run('apt-cache', [...apt, 'depends', name])) ?? [];
  if (first === undefined) throw new Missing(`Debian's ${name} depends on nothing`);
  return first;
}

/** An apt of its own, which knows one suite and writes into one directory. */
function privateApt(dir: string, architecture: string): string[] {
  for (const path of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(join(dir, path), { recursive: true });
  writeFileSync(join(dir, 'sources.list'), `deb [signed-by=${keyring}] ${mirror()} ${suite} main\n`);
  const settings = {
    'Dir::Etc::sourcelist': join(dir, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State': join(dir, 'state'),
    'Dir::State::status': '/dev/null',
    'Dir::Cache': join(dir, 'cache'),
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
  };
  return [...aptPatience, ...Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])];
}
