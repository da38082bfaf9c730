import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';

/** Lines break, and another apt may be at work: tries again, and waits. */
export const aptPatience = ['-o', 'Acquire::Retries=5', '-o', 'DPkg::Lock::Timeout=300'];

/**
 * Installs the Debian packages of the commands that are missing, where this is root and apt is there.
 *
 * @param packages the package of each command
 * @returns the packages that are still missing
 */
export function installMissing(packages: Readonly<Record<string, string>>): string[] {
  const missing = () =>
    Object.entries(packages)
      .filter(([command]) => !onPath(command))
      .map(([, name]) => name);
  const before = missing();
  if (before.length === 0 || process.getuid?.() !== 0 || spawnSync('apt-get', ['--version']).error)
    return before;
  console.log(`slmd: installing ${before.join(', ')} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', [...aptPatience, 'update', '-qq'], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const policy = ['-o', 'DPkg::Options::=--force-confdef', '-o', 'DPkg::Options::=--force-confold'];
  withoutServices(() =>
    spawnSync(
      'apt-get',
      [...aptPatience, 'install', '-y', '-qq', '--no-install-recommends', ...policy, ...before],
      {
        env,
        stdio: ['ignore', 'ignore', 'inherit'],
      },
    ),
  );
  return missing();
}

/** What to do about packages that are missing. */
export function installHint(missing: readonly string[]): string {
  return `not installed: ${missing.join(', ')}; on Debian: apt-get install ${missing.join(' ')}`;
}

/** What Debian keeps for root lies in `/usr/sbin`. */
function onPath(command: string): boolean {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  return spawnSync('sh', ['-c', `command -v ${command}`], { env }).status === 0;
}

/** A broker that apt starts by itself would take the port that the demo wants. */
function withoutServices(work: () => unknown): void {
  const policy = '/usr/sbin/policy-rc.d';
  const mine = !existsSync(policy);
  if (mine) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    work();
  } finally {
    if (mine) rmSync(policy);
  }
}
