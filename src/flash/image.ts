import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../lib/errors.ts';
import { FlashError } from './errors.ts';
import { FatFile } from './fat.ts';
import { bootPartition, bootRecordBytes, type Partition } from './partition.ts';

/** An image that can be customised: plain, whole, and with cloud-init. */
export interface Image {
  path: string;
  bytes: number;
  boot: Partition;
}

const xzMagic = Buffer.from('fd377a585a00', 'hex');
/** What cloud-init leaves in the boot partition of an image it is in. */
const cloudInitFiles = ['user-data', 'meta-data'];

/**
 * Opens an image, unpacking an .xz into `work`, and makes sure that flashing it would give a board that
 * comes up.
 *
 * @throws FlashError naming what is wrong with it
 */
export async function openImage(
  path: string,
  work: string,
  onProgress: (done: number, total: number) => void,
): Promise<Image> {
  const plain = (await isXz(path)) ? await unpack(path, join(work, 'image.img'), onProgress) : path;
  const handle = await open(plain, 'r');
  try {
    const { size } = await handle.stat();
    const boot = bootPartition(await head(handle, bootRecordBytes), size);
    return { path: plain, bytes: size, boot };
  } finally {
    await handle.close();
  }
}

/**
 * A copy of the boot partition as a file of its own, which can be changed without the image.
 *
 * @throws FlashError `no_boot_partition`, `no_cloud_init`
 */
export async function copyBoot({ path, boot }: Image, to: string): Promise<FatFile> {
  const { offset, bytes } = boot;
  await pipeline(createReadStream(path, { start: offset, end: offset + bytes - 1 }), createWriteStream(to));
  const fat = new FatFile(to);
  if (!fat.readable()) throw new FlashError('no_boot_partition', 'its boot partition cannot be read as FAT');
  const names = fat.names();
  if (!cloudInitFiles.some((name) => names.includes(name)))
    throw new FlashError(
      'no_cloud_init',
      'it has no cloud-init: use Raspberry Pi OS from trixie on, or Ubuntu for the Raspberry Pi',
    );
  return fat;
}

async function isXz(path: string): Promise<boolean> {
  const handle = await open(path, 'r').catch((error: unknown) => {
    throw new FlashError('image_unreadable', `${path} cannot be read: ${messageOf(error)}`);
  });
  try {
    return (await head(handle, xzMagic.length)).equals(xzMagic);
  } finally {
    await handle.close();
  }
}

async function head(handle: FileHandle, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, 0);
  return buffer.subarray(0, bytesRead);
}

async function unpack(
  path: string,
  to: string,
  onProgress: (done: number, total: number) => void,
): Promise<string> {
  const handle = await open(path, 'r');
  const { size } = await handle.stat();
  await handle.close();
  const xz = spawn('xz', ['-dc'], { stdio: ['pipe', 'pipe', 'pipe'] });
  const said: Buffer[] = [];
  xz.stderr.on('data', (text: Buffer) => said.push(text));
  const exited = once(xz, 'close').catch(() => {
    throw new FlashError('tool_missing', 'xz is needed: apt-get install xz-utils (or brew install xz)');
  });
  async function* counted(chunks: AsyncIterable<Buffer>) {
    let read = 0;
    for await (const chunk of chunks) {
      read += chunk.length;
      onProgress(read, size);
      yield chunk;
    }
  }
  const moved = Promise.all([
    // An xz that ends early closes its input; its own words say why.
    pipeline(createReadStream(path), counted, xz.stdin).catch(() => undefined),
    pipeline(xz.stdout, createWriteStream(to)),
  ]);
  const [code] = (await exited) as [number | null];
  await moved;
  if (code === 0) return to;
  const [line = ''] = Buffer.concat(said).toString().split('\n');
  throw new FlashError('image_truncated', `it cannot be unpacked: ${line}`);
}
