/**
 * `npm test [-- <pattern> …]`: installs what the tests need, then runs them all.
 *
 * The tests want a real Mosquitto, strace, and what the unit file is checked with. Where apt can install
 * them it does; where not, the tests that need them are skipped with the reason — except with CI=true,
 * where nothing may be.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, globSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildAll } from './build.ts';

const root = join(import.meta.dirname, '..');
const debianPackages = {
  mosquitto: 'mosquitto',
  mosquitto_pub: 'mosquitto-clients',
  strace: 'strace',
  mcopy: 'mtools',
  'mkfs.vfat': 'dosfstools',
  xz: 'xz-utils',
  // What the unit file allows, and a sandbox that allows no more.
  'systemd-analyze': 'systemd',
  bwrap: 'bubblewrap',
  scmp_sys_resolver: 'seccomp',
  openssl: 'openssl',
};

const ci = process.env.CI === 'true';
const missing = install();
if (missing.length > 0) {
  const line = `not installed: ${missing.join(', ')}; on Debian: apt-get install ${missing.join(' ')}`;
  if (ci) {
    console.error(`slmd: ${line}`);
    process.exit(1);
  }
  console.log(`slmd: ${line}. The tests that need them are skipped.`);
}
await buildAll();
process.exit(runTests(process.argv.slice(2)));

function install(): string[] {
  const wanted = () =>
    Object.entries(debianPackages)
      .filter(([command]) => spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0)
      .map(([, name]) => name);
  const before = wanted();
  if (before.length === 0 || process.getuid?.() !== 0 || spawnSync('apt-get', ['--version']).error)
    return before;
  console.log(`slmd: installing ${before.join(', ')} …`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', ['update', '-qq'], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const policy = ['-o', 'DPkg::Options::=--force-confdef', '-o', 'DPkg::Options::=--force-confold'];
  withoutServices(() =>
    spawnSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...policy, ...before], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    }),
  );
  return wanted();
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

function runTests(patterns: string[]): number {
  const all = globSync('test/**/*.test.ts', { cwd: root }).sort();
  const files =
    patterns.length === 0 ? all : all.filter((file) => patterns.some((pattern) => file.includes(pattern)));
  if (files.length === 0) {
    console.error(`slmd: no test file matches ${patterns.join(' ')}`);
    return 2;
  }
  const env = { ...process.env, ORT_DISABLE_TELEMETRY: '1' };
  const options = ['--test', '--test-concurrency=2', '--test-reporter=spec'];
  return (
    spawnSync(process.execPath, [...options, ...files], { cwd: root, env, stdio: 'inherit' }).status ?? 1
  );
}
