/**
 * `npm test [-- <pattern> …]`: installs what the tests need, then runs them all.
 *
 * The tests want a real Mosquitto, strace, and what the unit file is checked with. Where apt can install
 * them it does; where not, the tests that need them are skipped with the reason — except with CI=true,
 * where nothing may be.
 */

import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { buildAll } from './build.ts';
import { installHint, installMissing } from './debian.ts';

const root = join(import.meta.dirname, '..');
const debianPackages = {
  mosquitto: 'mosquitto',
  mosquitto_pub: 'mosquitto-clients',
  strace: 'strace',
  socat: 'socat',
  mcopy: 'mtools',
  'mkfs.vfat': 'dosfstools',
  xz: 'xz-utils',
  // What the unit file allows, and a sandbox that allows no more.
  'systemd-analyze': 'systemd',
  bwrap: 'bubblewrap',
  scmp_sys_resolver: 'seccomp',
  openssl: 'openssl',
};

/** Several times what the longest test takes on a machine that has other work. */
const testTimeoutMs = 600_000;

const ci = process.env.CI === 'true';
const missing = installMissing(debianPackages);
if (missing.length > 0) {
  const line = installHint(missing);
  if (ci) {
    console.error(`slmd: ${line}`);
    process.exit(1);
  }
  console.log(`slmd: ${line}. The tests that need them are skipped.`);
}
await buildAll();
process.exit(runTests(process.argv.slice(2)));

function runTests(patterns: string[]): number {
  // Those of the ladder need what `npm run test:device` makes.
  const all = globSync('test/**/*.test.ts', { cwd: root, exclude: ['test/ladder/**'] }).sort();
  const files =
    patterns.length === 0 ? all : all.filter((file) => patterns.some((pattern) => file.includes(pattern)));
  if (files.length === 0) {
    console.error(`slmd: no test file matches ${patterns.join(' ')}`);
    return 2;
  }
  const env = { ...process.env, ORT_DISABLE_TELEMETRY: '1' };
  // What hangs fails, and keeps nobody waiting: neither a test nor what one has left behind.
  const limits = [`--test-timeout=${testTimeoutMs}`, '--test-force-exit'];
  const options = ['--test', '--test-concurrency=2', '--test-reporter=spec', ...limits];
  return (
    spawnSync(process.execPath, [...options, ...files], { cwd: root, env, stdio: 'inherit' }).status ?? 1
  );
}
