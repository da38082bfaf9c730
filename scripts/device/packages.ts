import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from '../package/deb.ts';
import { makePackage } from '../package/package.ts';
import { cacheDirectory } from '../package/runtime-tree.ts';
import { Missing } from './fetch.ts';

export const olderVersion = '0.0.1';
export const newerVersion = '0.0.2';
export const architectures: readonly Architecture[] = ['arm64', 'amd64'];

const directory = join(cacheDirectory(), 'device', 'packages');

/** Of all their files: so a commit that changes none of them changes no package. */
const modified_s = Date.UTC(2026, 0, 1) / 1000;

type Build = 'first' | 'again';

/** Packages of the tree as it is, compressed for speed: two versions for an upgrade. */
export async function buildTestPackages(): Promise<void> {
  rmSync(directory, { recursive: true, force: true });
  await build(olderVersion);
  await build(newerVersion);
}

/** What `buildTestPackages` leaves out: each architecture, twice. */
export async function buildTwice(): Promise<void> {
  for (const arch of architectures) {
    if (!existsSync(pathOf(olderVersion, arch, 'first'))) await build(olderVersion, arch);
    await build(olderVersion, arch, 'again');
  }
}

/** @throws Missing where it has not been built */
export function testPackage(version: string, arch: Architecture = 'arm64', which: Build = 'first'): string {
  const path = pathOf(version, arch, which);
  if (!existsSync(path)) throw new Missing('npm run test:device builds the packages that this needs');
  return path;
}

export function sha256Of(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

async function build(version: string, arch: Architecture = 'arm64', which: Build = 'first'): Promise<void> {
  await makePackage({ arch, compression: 'zstd', version, out: join(directory, which), modified_s });
}

function pathOf(version: string, arch: Architecture, which: Build): string {
  return join(directory, which, `slmd_${version}_${arch}.deb`);
}
