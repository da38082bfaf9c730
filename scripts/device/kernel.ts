import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { cacheDirectory } from '../package/runtime-tree.ts';
import { Missing, run, unpackedPackages } from './fetch.ts';

export interface Kernel {
  image: string;
  initrd: string;
  /** A directory with `modules/<version>`, as below `/usr/lib`. */
  modules: string;
  /** Device trees of Raspberry Pis by file name, such as `bcm2837-rpi-3-b.dtb`. */
  deviceTrees: string;
}

/** What stands between the kernel and its root: the disks of each machine, and ext4 with its checksums. */
const rootModules = ['virtio_blk', 'sdhci-iproc', 'bcm2835', 'crc32c_generic', 'ext4'];

/**
 * Debian's kernel for arm64, which every board boots, with an initial RAM disk of our own: Debian's takes
 * minutes to make under emulation, and this one has nothing to find out.
 */
export function kernel(): Kernel {
  const unpacked = unpackedPackages('kernel', ['linux-image-arm64>', 'busybox-static'], 'arm64');
  const library = join(unpacked, 'usr', 'lib');
  const [version = ''] = readdirSync(join(library, 'modules'));
  const modules = join(library, 'modules', version);
  if (!existsSync(join(modules, 'modules.dep'))) run('/sbin/depmod', ['-b', join(unpacked, 'usr'), version]);
  const made = createHash('sha256').update(`${init}${rootModules}`).digest('hex').slice(0, 8);
  const initrd = join(cacheDirectory(), 'device', `initrd-${version}-${made}`);
  if (!existsSync(initrd)) makeInitrd(initrd, modules, join(unpacked, 'usr', 'bin', 'busybox'));
  return {
    image: join(unpacked, 'boot', `vmlinuz-${version}`),
    initrd,
    modules: library,
    deviceTrees: join(library, `linux-image-${version}`, 'broadcom'),
  };
}

const init = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in $($b cat /modules/order); do $b insmod /modules/$module; done
until root=$($b findfs LABEL=rootfs); do $b sleep 0.2; done
$b mount -t ext4 -o ro $root /root
$b umount /dev
exec $b switch_root /root /sbin/init
`;

function makeInitrd(path: string, modules: string, busybox: string): void {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-initrd-'));
  try {
    for (const name of ['bin', 'dev', 'root', 'modules']) mkdirSync(join(dir, name));
    cpSync(busybox, join(dir, 'bin', 'busybox'));
    writeFileSync(join(dir, 'init'), init, { mode: 0o755 });
    const needed = inOrder(readFileSync(join(modules, 'modules.dep'), 'utf8'), rootModules);
    for (const file of needed)
      writeFileSync(join(dir, 'modules', nameOf(file)), unpacked(join(modules, file)));
    writeFileSync(join(dir, 'modules', 'order'), needed.map(nameOf).join('\n'));
    const script = 'cd "$1" && find . | cpio --quiet -o -H newc -R 0:0 >"$2" && mv "$2" "$3"';
    run('sh', ['-c', script, 'sh', dir, `${dir}.cpio`, path]);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Files of modules, each after those that it depends on. Source: modules.dep(5), whose lines name all of them. */
export function inOrder(dependencies: string, wanted: readonly string[]): string[] {
  const lines = dependencies.split('\n').map((line) => line.split(':') as [string, string?]);
  const order = wanted.flatMap((name) => {
    const found = lines.find(([file]) => nameOf(file) === `${name}.ko`);
    if (found === undefined) throw new Missing(`this kernel has no module ${name}`);
    const [file, on = ''] = found;
    return [...on.split(' ').filter(Boolean).reverse(), file];
  });
  return [...new Set(order)];
}

function nameOf(file: string): string {
  return basename(file, '.xz');
}

function unpacked(file: string): Buffer {
  if (!file.endsWith('.xz')) return readFileSync(file);
  const { stdout, status } = spawnSync('xz', ['-dc', file], { maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0) throw new Missing(`xz does not unpack ${file}`);
  return stdout;
}
