import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makePackage } from '../package/package.ts';
import { cacheDirectory } from '../package/runtime-tree.ts';
import { Missing } from './fetch.ts';

export const olderVersion = '0.0.1';
export const newerVersion = '0.0.2';

const directory = join(cacheDirectory(), 'device', 'packages');
const again = join(directory, 'again');

/** Packages of the tree as it is, compressed for speed: two versions for an upgrade, and one of them twice. */
export async function buildTestPackages(): Promise<void> {
  rmSync(directory, { recursive: true, force: true });
  const build = (version: string, out: string) =>
    makePackage({ arch: 'arm64', compression: 'zstd', version, out });
  await build(olderVersion, directory);
  await build(newerVersion, directory);
  await build(olderVersion, again);
}

/** @throws Missing where `buildTestPackages` has not been */
export function testPackage(version: string, build: 'first' | 'again' = 'first'): string {
  const path = join(build === 'first' ? directory : again, `slmd_${version}_arm64.deb`);
  if (!existsSync(path)) throw new Missing('npm run test:device builds the packages that this needs');
  return path;
}
