import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { ExternalRange } from './graph.ts';

/** ONNX Runtime maps external tensors into memory, which needs each to start on a page. */
export const pageBytes = 4096;

/**
 * Writes a model's external data file front to back, one tensor after another.
 *
 * Nothing is kept but the running hash, so a file may be much larger than memory.
 */
export class ExternalDataWriter {
  readonly #location: string;
  readonly #file: FileHandle;
  readonly #hash = createHash('sha256');
  #offset = 0;
  #start = 0;

  static async create(path: string): Promise<ExternalDataWriter> {
    return new ExternalDataWriter(basename(path), await open(path, 'wx'));
  }

  private constructor(location: string, file: FileHandle) {
    this.#location = location;
    this.#file = file;
  }

  /** Starts a tensor at the next page. */
  async begin(): Promise<void> {
    const past = this.#offset % pageBytes;
    if (past !== 0) await this.write(new Uint8Array(pageBytes - past));
    this.#start = this.#offset;
  }

  /** Appends to the tensor; `bytes` may be reused when the promise has settled. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, this.#offset + done);
      done += bytesWritten;
    }
    this.#offset += bytes.length;
  }

  /** Where the tensor lies. */
  end(): ExternalRange {
    return { location: this.#location, offset: this.#start, length: this.#offset - this.#start };
  }

  /** Makes the file durable. Returns its size, and its SHA-256 in lower-case hex. */
  async finish(): Promise<{ bytes: number; sha256: string }> {
    await this.#file.sync();
    return { bytes: this.#offset, sha256: this.#hash.digest('hex') };
  }

  /** Closes the file, finished or not. */
  async close(): Promise<void> {
    await this.#file.close();
  }
}
