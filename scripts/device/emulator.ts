import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Missing, run, unpackedPackages } from './fetch.ts';

export interface Emulator {
  /** Runs a program for arm64 on this machine. */
  qemu: string;
  /** The C and C++ libraries for arm64. */
  sysroot: string;
}

/** QEMU's user mode, version 10 or later: with 7, ONNX Runtime ends with a fault when it is loaded. */
export function emulator(): Emulator {
  const qemu = join(unpackedPackages('qemu-user', ['qemu-user']), 'usr', 'bin', 'qemu-aarch64');
  const [major] = /version (\d+)/.exec(run(qemu, ['--version']))?.slice(1) ?? [];
  if (Number(major) < 10) throw new Missing(`QEMU 10 is needed and this is ${major}`);
  const libraries = ['libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libgcc-s1-arm64-cross'];
  return { qemu, sysroot: join(unpackedPackages('libraries', libraries), 'usr', 'aarch64-linux-gnu') };
}

const binfmt = '/proc/sys/fs/binfmt_misc';
const entry = 'slmd-aarch64';

/** 64-bit little-endian ELF of machine 183. Source: the kernel's admin-guide/binfmt-misc, elf(5). */
const magic = '\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00';
const mask =
  '\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff';

/**
 * Lets the kernel run programs for arm64 with the emulator, in a chroot too, until `forget`. A machine that
 * already knows how is left as it is, but for an emulator that is too old.
 */
export function teachKernel(qemu: string): { forget(): void } {
  if (process.getuid?.() !== 0) throw new Missing('the kernel takes an emulator from root alone');
  if (!existsSync(join(binfmt, 'register'))) run('mount', ['-t', 'binfmt_misc', 'binfmt_misc', binfmt]);
  const known = join(binfmt, entry);
  if (existsSync(known)) {
    if (readFileSync(known, 'utf8').includes(`interpreter ${qemu}\n`)) return { forget: () => undefined };
    tell(known, '-1');
  }
  // F keeps the emulator open, so that a chroot needs no copy; P keeps the program's own name.
  tell(join(binfmt, 'register'), `:${entry}:M::${magic}:${mask}:${qemu}:PF`);
  return { forget: () => tell(known, '-1') };
}

/** @throws Missing where this is a container whose kernel is not its own to teach */
function tell(file: string, line: string): void {
  try {
    writeFileSync(file, line);
  } catch (error) {
    throw new Missing(`the kernel takes no emulator: ${(error as Error).message}`);
  }
}
