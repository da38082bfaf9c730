import { setImmediate as turn } from 'node:timers/promises';
import { type BackoffBounds, backoffMs } from '../lib/backoff.ts';
import { SlmdError } from '../lib/errors.ts';
import { Pause } from '../lib/pause.ts';
import type { LogHandle, LogStorage } from './log-file.ts';

export interface LogWriterOptions {
  path: string;
  storage: Pick<LogStorage, 'open' | 'replace'>;
  /** How long to wait between attempts to write again. */
  retry: BackoffBounds;
  /** The lines that a fresh log needs, in order: everything that is still true. */
  snapshot(): string[];
  /** Whether a fresh log is worth its writing, given the size of the old one. */
  worthRewriting(bytes: number): boolean;
  /** The disk does not take what must be kept. Called once, until `recovered`. */
  trouble(error: Error): void;
  recovered(): void;
}

interface Waiting {
  line: string;
  /** Whether the caller would rather hear of trouble than wait for its end. */
  refusable: boolean;
  /** What the line says is true from here on, so the next snapshot has it. */
  durable(): void;
  resolve(): void;
  reject(error: Error): void;
}

/** A disk that takes this much takes a result. */
const probeBytes = 16_384;

/**
 * Appends lines to a log, and says of each when it would survive.
 *
 * INVARIANTS: a line is durable before its promise resolves; lines are durable in the order of their
 * appends; lines that wait while others are written go together, with one fdatasync (group commit);
 * after a failed fdatasync nothing more is trusted to that file: what is true is written to a new one
 * (the kernel may have dropped the pages and reports the error once).
 */
export class LogWriter {
  readonly #options: LogWriterOptions;
  #handle: LogHandle | null = null;
  /** Up to here the file is durable; what may be behind it is not acknowledged. */
  #bytes: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | null = null;
  #troubled = false;
  #mustRewrite = false;
  #rewriteAbove = 0;
  #closing = false;
  /** Before the next attempt to write. */
  readonly #pause = new Pause();
  /** Something stands behind the durable part, and is to be taken back before anything is written. */
  #torn: boolean;

  /** @param torn whether the file goes on behind its first `bytes` */
  constructor(options: LogWriterOptions, bytes = 0, torn = false) {
    this.#options = options;
    this.#bytes = bytes;
    this.#torn = torn;
  }

  /**
   * @param durable called once the line is durable, in order, before anything awaits it
   * @throws SlmdError `storage_full` at once, for a refusable line while the disk is in trouble
   */
  append(line: string, refusable: boolean, durable: () => void): Promise<void> {
    if (this.#troubled && refusable) return Promise.reject(storageError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line, refusable, durable, resolve, reject });
      this.#writing ??= this.#run();
    });
  }

  /** The disk is known to be in trouble before anything was written to it: it is tried until it is not. */
  beginTroubled(error: Error): void {
    this.#onTrouble(error, []);
    this.#writing ??= this.#run();
  }

  /** Writes what waits, then closes; a disk in trouble is tried once more and then left. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#pause.end();
    await this.#writing;
    await this.#handle?.close();
    this.#handle = null;
  }

  async #run(): Promise<void> {
    for (let failures = 0; this.#waiting.length > 0 || this.#troubled; ) {
      // The end of an answer is also the start of the next: what follows from one event shares an fdatasync.
      await turn();
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#commit(batch);
        if (this.#troubled) this.#options.recovered();
        this.#troubled = false;
        failures = 0;
      } catch (error) {
        this.#onTrouble(error as Error, batch);
        if (this.#closing) break;
        await this.#pause.take(backoffMs(failures++, this.#options.retry, Math.random()));
      }
    }
    this.#writing = null;
  }

  async #commit(batch: readonly Waiting[]): Promise<void> {
    const { storage, path } = this.#options;
    if (this.#mustRewrite) await this.#rewrite();
    else if (this.#bytes > this.#rewriteAbove && this.#options.worthRewriting(this.#bytes))
      await this.#tryRewrite();
    this.#handle ??= await storage.open(path, false);
    if (this.#torn) await this.#cut(this.#handle);
    const text = batch.length > 0 ? batch.map(({ line }) => line).join('') : ' '.repeat(probeBytes);
    await this.#write(this.#handle, text);
    if (batch.length === 0) await this.#cut(this.#handle);
    else this.#bytes += Buffer.byteLength(text);
    for (const { durable, resolve } of batch) {
      durable();
      resolve();
    }
  }

  async #write(handle: LogHandle, text: string): Promise<void> {
    try {
      await handle.write(text);
    } catch (error) {
      await this.#cut(handle);
      throw error;
    }
    try {
      await handle.datasync();
    } catch (error) {
      this.#mustRewrite = true;
      throw error;
    }
  }

  /** Takes back what may stand behind the durable part. */
  async #cut(handle: LogHandle): Promise<void> {
    this.#mustRewrite = true;
    await handle.truncate(this.#bytes);
    this.#mustRewrite = false;
    this.#torn = false;
  }

  /** A log that could be shorter is no trouble: without room for a fresh one the old one goes on. */
  async #tryRewrite(): Promise<void> {
    try {
      await this.#rewrite();
    } catch (error) {
      if (this.#mustRewrite) throw error;
      this.#rewriteAbove = this.#bytes * 1.25;
    }
  }

  async #rewrite(): Promise<void> {
    const { storage, path, snapshot } = this.#options;
    const fresh = await storage.open(`${path}.new`, true);
    try {
      const text = snapshot().join('');
      await fresh.write(text);
      await fresh.datasync();
      // From here on it is not known which file has the name, until it is the fresh one.
      this.#mustRewrite = true;
      await storage.replace(`${path}.new`, path);
      this.#bytes = Buffer.byteLength(text);
    } catch (error) {
      await fresh.close().catch(() => undefined);
      throw error;
    }
    await this.#handle?.close().catch(() => undefined);
    this.#handle = fresh;
    this.#mustRewrite = false;
    this.#torn = false;
    this.#rewriteAbove = 0;
  }

  #onTrouble(error: Error, batch: readonly Waiting[]): void {
    if (!this.#troubled) this.#options.trouble(error);
    this.#troubled = true;
    const all = [...batch, ...this.#waiting];
    this.#waiting = all.filter(({ refusable }) => !refusable);
    for (const { refusable, reject } of all) if (refusable) reject(storageError(error));
  }
}

function storageError(cause?: Error): SlmdError<'storage_full'> {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return new SlmdError(
    'storage_full',
    `the journal cannot be written${code === undefined ? '' : ` (${code})`}`,
    { cause },
  );
}
