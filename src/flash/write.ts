import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { constants, type FileHandle, open } from 'node:fs/promises';
import { messageOf } from '../lib/errors.ts';
import { FlashError } from './errors.ts';
import type { Image } from './image.ts';
import type { Target } from './target.ts';

export type OnProgress = (step: 'writing' | 'verifying', done: number, total: number) => void;

const chunkBytes = 4 * 1024 * 1024;

/**
 * Writes an image with another boot partition to a target, and reads all of it back.
 *
 * @param boot a file with the boot partition that takes the place of the image's
 * @returns SHA-256 of what was written, lower-case hex
 * @throws FlashError `target_unwritable`, `verify_failed`
 */
export async function writeImage(
  image: Image,
  boot: string,
  target: Target,
  onProgress: OnProgress,
): Promise<string> {
  const written = await write(image, boot, target, (done) => onProgress('writing', done, image.bytes));
  // What the kernel still holds would only say that memory works.
  if (target.kind === 'card') spawnSync('blockdev', ['--flushbufs', target.path]);
  const hash = createHash('sha256');
  let read = 0;
  const back = createReadStream(target.path, { end: image.bytes - 1, highWaterMark: chunkBytes });
  for await (const chunk of back as AsyncIterable<Buffer>) {
    hash.update(chunk);
    read += chunk.length;
    onProgress('verifying', read, image.bytes);
  }
  const found = hash.digest('hex');
  if (found !== written)
    throw new FlashError(
      'verify_failed',
      `${target.path} does not hold what was written: the card is worn out`,
    );
  return found;
}

async function write(
  image: Image,
  boot: string,
  target: Target,
  onProgress: (done: number) => void,
): Promise<string> {
  const hash = createHash('sha256');
  const handle = await openTarget(target);
  let done = 0;
  try {
    for await (const chunk of contentOf(image, boot)) {
      for (let at = 0; at < chunk.length; ) at += (await handle.write(chunk, at)).bytesWritten;
      hash.update(chunk);
      done += chunk.length;
      onProgress(done);
    }
    await handle.sync();
  } catch (error) {
    throw new FlashError('target_unwritable', `${target.path} cannot be written: ${messageOf(error)}`);
  } finally {
    await handle.close();
  }
  return hash.digest('hex');
}

/** The kernel itself refuses a disk that somebody uses when it is opened exclusively. */
function openTarget({ path, kind }: Target): Promise<FileHandle> {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_EXCL } = constants;
  const flags = kind === 'file' ? O_WRONLY | O_CREAT | O_TRUNC : O_WRONLY | O_EXCL;
  return open(path, flags, 0o600).catch((error: unknown) => {
    throw new FlashError('target_unwritable', `${path} cannot be opened for writing: ${messageOf(error)}`);
  });
}

async function* contentOf({ path, bytes, boot }: Image, patched: string): AsyncGenerator<Buffer> {
  yield* range(path, 0, boot.offset);
  yield* range(patched, 0, boot.bytes);
  yield* range(path, boot.offset + boot.bytes, bytes);
}

async function* range(path: string, start: number, end: number): AsyncGenerator<Buffer> {
  if (start >= end) return;
  yield* createReadStream(path, { start, end: end - 1, highWaterMark: chunkBytes }) as AsyncIterable<Buffer>;
}
