import { join } from 'node:path';
import { unpackedPackages } from './fetch.ts';

/**
 * The command that emulates whole machines, a Raspberry Pi 4 among them, which QEMU has from version 9 on. It is run
 * by its own loader and with its own libraries: this machine may be an older Debian, or none.
 */
export function machineEmulator(): string[] {
  const root = unpackedPackages('qemu-system', ['qemu-system-arm+']);
  const libraries = join(root, 'usr', 'lib', 'x86_64-linux-gnu');
  return [
    // Else it looks for its modules where an installed one has them.
    ...['env', `QEMU_MODULE_DIR=${join(libraries, 'qemu')}`],
    join(libraries, 'ld-linux-x86-64.so.2'),
    ...['--library-path', libraries],
    join(root, 'usr', 'bin', 'qemu-system-aarch64'),
    ...['-L', join(root, 'usr', 'share', 'qemu')],
  ];
}
