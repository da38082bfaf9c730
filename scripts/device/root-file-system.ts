import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheDirectory } from '../package/runtime-tree.ts';
import { Missing, mirror, run, suite } from './fetch.ts';

/**
 * A small Debian for arm64 as a tar archive: what is essential, and what slmd's package depends on. Made once,
 * with the emulator that the kernel has been taught; some minutes.
 */
export function rootFileSystem(): string {
  const tar = join(cacheDirectory(), 'device', `root-arm64-${suite}.tar`);
  if (existsSync(tar)) return tar;
  if (process.getuid?.() !== 0) throw new Missing('a root file system for arm64 is made by root alone');
  const making = join(dirname(tar), `.making-${process.pid}.tar`);
  mkdirSync(dirname(tar), { recursive: true });
  const without = ['doc', 'locale', 'man'].map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`);
  try {
    // The check wants an emulator at a certain path; the kernel has one already.
    const args = [
      '--variant=essential',
      '--skip=check/qemu',
      '--arch=arm64',
      '--include=libstdc++6',
      ...without,
    ];
    run('mmdebstrap', [...args, '--quiet', suite, making, mirror()]);
    renameSync(making, tar);
  } finally {
    rmSync(making, { force: true });
  }
  return tar;
}
