import { createHash, type Hash as Digest } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SupplyError } from './errors.ts';
import type { Hash } from './hub.ts';

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants;
const readBytes = 1024 * 1024;

/**
 * The beginning of a file that is being downloaded, with the hash of what is there.
 *
 * Beside it is the entity tag of the answer that it is a part of: with it, a server says whether the
 * rest still belongs to it. INVARIANT: the digest is that of the first `bytes` bytes of the file.
 */
export class PartFile {
  readonly #path: string;
  readonly #file: FileHandle;
  #sha256: Digest = createHash('sha256');
  #tag: string | null;
  #bytes = 0;

  /** Opens what there is of a file and reads it; it may be nothing. */
  static async open(path: string): Promise<PartFile> {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(`${path}.part`, O_RDWR | O_CREAT | O_NOFOLLOW, 0o644);
    const tag = await readFile(`${path}.etag`, 'utf8').catch(() => null);
    const part = new PartFile(path, file, tag);
    await part.#readWhatIsThere();
    return part;
  }

  private constructor(path: string, file: FileHandle, tag: string | null) {
    this.#path = path;
    this.#file = file;
    this.#tag = tag;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A strong entity tag, in its quotes; null where the server gave none. */
  get tag(): string | null {
    return this.#tag;
  }

  /** Starts over, with an answer of this entity tag. */
  async restart(tag: string | null): Promise<void> {
    await this.#file.truncate(0);
    this.#sha256 = createHash('sha256');
    this.#bytes = 0;
    this.#tag = tag;
    // A tag that is older than the bytes would vouch for what it does not know: it is gone before they come.
    await rm(`${this.#path}.etag`, { force: true });
    if (tag !== null) await writeFile(`${this.#path}.etag`, tag);
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.#file.write(chunk, done, chunk.length - done, this.#bytes + done);
      done += bytesWritten;
    }
    this.#sha256.update(chunk);
    this.#bytes += chunk.length;
  }

  sha256(): string {
    return this.#sha256.copy().digest('hex');
  }

  /** Whether all of it is what a hash says. */
  async is({ kind, hex }: Hash): Promise<boolean> {
    if (kind === 'sha256') return this.sha256() === hex;
    const sha1 = createHash('sha1').update(`blob ${this.#bytes}\0`);
    for await (const chunk of this.#chunks()) sha1.update(chunk);
    return sha1.digest('hex') === hex;
  }

  /** The file has its name from here on, and is on the disk. */
  async complete(): Promise<void> {
    await this.#file.sync();
    await rename(`${this.#path}.part`, this.#path);
    await rm(`${this.#path}.etag`, { force: true });
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #readWhatIsThere(): Promise<void> {
    for await (const chunk of this.#chunks()) {
      this.#sha256.update(chunk);
      this.#bytes += chunk.length;
    }
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.allocUnsafe(readBytes);
    for (let at = 0; ; ) {
      const { bytesRead } = await this.#file.read(buffer, 0, readBytes, at);
      if (bytesRead === 0) return;
      at += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  }
}

/** A full disk, or a quota that is used up, is said with what there is to do. */
export function diskError(error: unknown, dir: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new SupplyError(
    'disk_full',
    `no space is left in ${dir}: make some, and run the same command again`,
    {
      cause: error,
    },
  );
}
