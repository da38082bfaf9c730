import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheDirectory } from '../package/runtime-tree.ts';
import { Missing, mirror, run, suite } from './fetch.ts';

/** A small Debian for arm64 as a tar archive: what is essential, and what slmd's package depends on. */
export function rootFileSystem(): string {
  return bootstrapped('root', ['libstdc++6']);
}

/**
 * The same with what boots and what a flashed card needs: systemd, and cloud-init with its network. Its only
 * way to be asked anything is QEMU's guest agent, which needs no network and no login.
 */
export function boardFileSystem(): string {
  const boots = ['systemd-sysv', 'udev', 'dbus', 'kmod', 'iproute2', 'e2fsprogs', 'passwd', 'procps'];
  return bootstrapped('board', ['libstdc++6', ...boots, 'cloud-init', 'netplan.io', 'qemu-guest-agent']);
}

/** Without manuals, and without Python compiled ahead: under emulation that would take as long as the rest. */
const without = ['share/doc/*', 'share/locale/*', 'share/man/*', 'bin/py3compile'];

/** Made once, with the emulator that the kernel has been taught; some minutes. */
function bootstrapped(name: string, packages: readonly string[]): string {
  const tar = join(cacheDirectory(), 'device', `${name}-arm64-${suite}.tar`);
  if (existsSync(tar)) return tar;
  if (process.getuid?.() !== 0) throw new Missing('a root file system for arm64 is made by root alone');
  const making = join(dirname(tar), `.making-${name}-${process.pid}.tar`);
  mkdirSync(dirname(tar), { recursive: true });
  try {
    // The check wants an emulator at a certain path; the kernel has one already.
    const args = [
      '--variant=essential',
      '--skip=check/qemu',
      '--arch=arm64',
      `--include=${packages.join(',')}`,
      '--aptopt=Apt::Install-Recommends "false"',
      '--aptopt=Acquire::Retries "5"',
      '--dpkgopt=force-unsafe-io',
      ...without.map((path) => `--dpkgopt=path-exclude=/usr/${path}`),
    ];
    run('mmdebstrap', [...args, '--quiet', suite, making, mirror()]);
    renameSync(making, tar);
  } finally {
    rmSync(making, { force: true });
  }
  return tar;
}
