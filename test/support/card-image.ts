import { spawnSync } from 'node:child_process';
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootPartition, bootRecordBytes, type Partition } from '../../src/flash/partition.ts';
import { commandMissing } from './mosquitto.ts';

const mebibyte = 1024 * 1024;
/** As on a real card: a gap, the FAT partition, then the root file system. */
const layout = { boot_offset: mebibyte, boot_bytes: 16 * mebibyte, root_bytes: 2 * mebibyte };
export const imageBytes = layout.boot_offset + layout.boot_bytes + layout.root_bytes;

/** What an image with cloud-init has in its boot partition, as far as flashing looks. */
export const bootFiles = {
  'user-data': '#cloud-config\n',
  'meta-data': 'instance-id: stock\n',
  'network-config': '',
  'cmdline.txt': 'console=tty1 root=PARTUUID=1 rootwait cgroup_disable=memory\n',
};

export function flashToolsMissing(): string | false {
  return commandMissing('mcopy', ['--version']) || commandMissing('mkfs.vfat', ['--help']);
}

export interface ImageOptions {
  files?: Record<string, string>;
  /** Type of the boot partition in the table. */
  type?: number;
  /** Bytes of the boot partition that something else has taken. */
  taken_bytes?: number;
}

/** Writes a small card image: a partition table, a FAT partition with these files, and a root that is marked. */
export function makeImage(
  path: string,
  { files = bootFiles, type = 0x0c, taken_bytes = 0 }: ImageOptions = {},
): void {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-image-'));
  try {
    const fat = join(dir, 'fat');
    writeFileSync(fat, '');
    truncateSync(fat, layout.boot_bytes);
    tool('mkfs.vfat', '-n', 'bootfs', fat);
    if (taken_bytes > 0) writeFileSync(join(dir, 'kernel8.img'), Buffer.alloc(taken_bytes));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
    const names = [...Object.keys(files), ...(taken_bytes > 0 ? ['kernel8.img'] : [])];
    tool('mcopy', '-i', fat, ...names.map((name) => join(dir, name)), '::/');
    const image = Buffer.alloc(imageBytes);
    writeEntry(image, 0, type, layout.boot_offset, layout.boot_bytes);
    writeEntry(image, 1, 0x83, layout.boot_offset + layout.boot_bytes, layout.root_bytes);
    image.writeUInt16LE(0xaa55, 510);
    readFileSync(fat).copy(image, layout.boot_offset);
    image.fill('root', layout.boot_offset + layout.boot_bytes);
    writeFileSync(path, image);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** A file of an image's boot partition; null where there is none. */
export function bootFile(image: string, name: string): string | null {
  const { status, stdout } = spawnSync('mtype', ['-i', `${image}@@${bootOf(image).offset}`, `::/${name}`]);
  return status === 0 ? stdout.toString() : null;
}

/** The names in the root of an image's boot partition. */
export function bootNames(image: string): string[] {
  const { stdout } = spawnSync('mdir', ['-b', '-i', `${image}@@${bootOf(image).offset}`, '::/']);
  return stdout
    .toString()
    .split('\n')
    .flatMap((line) => /^::\/(.+?)\/?$/.exec(line)?.[1] ?? []);
}

/** Every byte of an image's boot partition: what is deleted may still be there. */
export function bootBytes(image: string): Buffer {
  const { offset, bytes } = bootOf(image);
  return headOf(image, offset + bytes).subarray(offset);
}

function bootOf(image: string): Partition {
  return bootPartition(headOf(image, bootRecordBytes), Number.POSITIVE_INFINITY);
}

function headOf(path: string, bytes: number): Buffer {
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(bytes);
    readSync(file, head, 0, bytes, 0);
    return head;
  } finally {
    closeSync(file);
  }
}

/** The root file system's bytes: flashing leaves them as they are. */
export function rootOf(image: string): Buffer {
  return readFileSync(image).subarray(layout.boot_offset + layout.boot_bytes);
}

function writeEntry(image: Buffer, index: number, type: number, offset: number, bytes: number): void {
  const at = 446 + 16 * index;
  image.writeUInt8(type, at + 4);
  image.writeUInt32LE(offset / 512, at + 8);
  image.writeUInt32LE(bytes / 512, at + 12);
}

function tool(command: string, ...args: string[]): void {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  const { status, stderr, error } = spawnSync(command, args, { env });
  if (status !== 0) throw error ?? new Error(`${command}: ${stderr}`);
}
