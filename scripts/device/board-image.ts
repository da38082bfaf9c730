import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { cacheDirectory } from '../package/runtime-tree.ts';
import { run, suite } from './fetch.ts';
import { type Kernel, kernel } from './kernel.ts';
import { boardFileSystem } from './root-file-system.ts';

/** What QEMU boots: the kernel takes the place of the firmware, which no QEMU has. */
export interface BoardImage {
  /** A card that nobody has touched yet, with a boot partition as `slmd flash` expects it. */
  card: string;
  kernel: Kernel;
}

const mebibyte = 1024 * 1024;
/** A power of two: QEMU's card readers take nothing else. */
const cardBytes = 2048 * mebibyte;
const bootOffset = 4 * mebibyte;
const bootBytes = 252 * mebibyte;

/**
 * The boot partition of Raspberry Pi OS as it is published, as far as cloud-init and the kernel look at it.
 * Source: the rpi-cloud-init-mods package and the images of trixie.
 */
const bootFiles = {
  'cmdline.txt': 'console=tty1 root=LABEL=rootfs rootfstype=ext4 fsck.repair=yes rootwait\n',
  'config.txt': 'arm_64bit=1\n',
  'user-data': '#cloud-config\n# Nothing is configured here yet.\n',
  'meta-data': 'dsmode: local\ninstance_id: rpios-image\n',
  'network-config': '# Nothing is configured here yet.\n',
};

/** What makes of a Debian with cloud-init one that reads its boot partition, as Raspberry Pi OS does. */
const rootFiles = {
  'etc/fstab': 'LABEL=rootfs / ext4 defaults,noatime 0 1\nLABEL=bootfs /boot/firmware vfat defaults 0 2\n',
  'etc/hostname': 'raspberrypi\n',
  'etc/machine-id': '',
  'etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg': `datasource_list: [NoCloud, None]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
`,
  'etc/systemd/system/cloud-init-main.service.d/boot.conf': '[Unit]\nRequiresMountsFor=/boot/firmware\n',
};

/** Made once. No loop device and no mount are needed. */
export function boardImage(): BoardImage {
  const card = join(cacheDirectory(), 'device', `card-${suite}.img`);
  const image = { card, kernel: kernel() };
  if (existsSync(card)) return image;
  const making = mkdtempSync(join(dirname(card), '.making-card-'));
  try {
    const root = rootOf(making, image.kernel);
    const made = join(making, 'card.img');
    partition(made);
    const fat = bootOf(making);
    run('dd', [`if=${fat}`, `of=${made}`, 'bs=1M', `seek=${bootOffset / mebibyte}`, 'conv=notrunc']);
    const rootOffset = bootOffset + bootBytes;
    const size = `${(cardBytes - rootOffset) / mebibyte}M`;
    run('/sbin/mke2fs', [
      '-q',
      '-t',
      'ext4',
      '-L',
      'rootfs',
      '-E',
      `offset=${rootOffset}`,
      '-d',
      root,
      made,
      size,
    ]);
    renameSync(made, card);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return image;
}

function rootOf(dir: string, { modules }: Kernel): string {
  const root = join(dir, 'root');
  mkdirSync(root);
  run('tar', ['-xf', boardFileSystem(), '-C', root]);
  cpSync(join(modules, 'modules'), join(root, 'usr', 'lib', 'modules'), { recursive: true });
  // It was made without manuals; what is installed from now on is installed whole.
  rmSync(join(root, 'etc/dpkg/dpkg.cfg.d/99mmdebstrap'), { force: true });
  mkdirSync(join(root, 'boot', 'firmware'), { recursive: true });
  writeFiles(root, rootFiles);
  return root;
}

function bootOf(dir: string): string {
  const boot = join(dir, 'boot');
  mkdirSync(boot);
  writeFiles(boot, bootFiles);
  const fat = join(dir, 'boot.fat');
  writeFileSync(fat, '');
  truncateSync(fat, bootBytes);
  run('/sbin/mkfs.vfat', ['-F', '32', '-n', 'bootfs', fat]);
  run('mcopy', ['-i', fat, ...Object.keys(bootFiles).map((name) => join(boot, name)), '::/']);
  return fat;
}

function partition(path: string): void {
  writeFileSync(path, '');
  truncateSync(path, cardBytes);
  const sectors = (bytes: number) => bytes / 512;
  const table = [
    'label: dos',
    `start=${sectors(bootOffset)}, size=${sectors(bootBytes)}, type=c, bootable`,
    `start=${sectors(bootOffset + bootBytes)}, type=83`,
  ];
  run('sh', ['-c', 'printf "%s\\n" "$@" | /sbin/sfdisk -q "$0"', path, ...table]);
}

function writeFiles(dir: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    rmSync(join(dir, path), { force: true });
    writeFileSync(join(dir, path), text);
  }
}
