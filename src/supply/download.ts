import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { SupplyError } from './errors.ts';
import type { Http, HttpAnswer } from './http.ts';
import { type Hash, type HubFile, hashOf } from './hub.ts';
import { diskError, PartFile } from './part-file.ts';
import { TransferError, type TransferLimits, withRetries } from './transfer-error.ts';
import { Watchdog } from './watchdog.ts';

export interface DownloadOptions {
  http: Http;
  limits: TransferLimits;
  signal: AbortSignal;
  /** Where the model's files go until all are there. */
  dir: string;
  /** Told what came, and, as a negative number, what has to come again. */
  onBytes(bytes: number): void;
}

export interface Downloaded {
  sha256: string;
  bytes: number;
  /** Whether the mirror said which hash it must have. */
  vouched: boolean;
}

/** An attempt that brought so much was worth it, however it ended. */
const gainBytesMin = 1024 * 1024;

/** What came is thrown away so often at most; a server for which that is not enough will never do. */
const restartsMax = 3;

/**
 * Fetches one file, from where an earlier attempt or an earlier command stopped, and checks its hash.
 *
 * @throws SupplyError; what has come stays, unless it was wrong
 */
export async function download(url: string, wanted: HubFile, options: DownloadOptions): Promise<Downloaded> {
  const path = join(options.dir, wanted.path);
  // A file that was complete is a part that may be complete: it is checked like one.
  if (existsSync(path)) await rename(path, `${path}.part`);
  const part = await PartFile.open(path);
  options.onBytes(part.bytes);
  try {
    return await new Download(url, { ...wanted }, part, options).run();
  } catch (error) {
    throw diskError(error, options.dir);
  } finally {
    await part.close();
  }
}

class Download {
  readonly #url: string;
  readonly #wanted: HubFile;
  readonly #part: PartFile;
  readonly #options: DownloadOptions;
  /** Whether some of the bytes are of an earlier answer than the last. */
  #pieced: boolean;
  #restarts = 0;

  constructor(url: string, wanted: HubFile, part: PartFile, options: DownloadOptions) {
    this.#url = url;
    this.#wanted = wanted;
    this.#part = part;
    this.#options = options;
    this.#pieced = part.bytes > 0;
  }

  async run(): Promise<Downloaded> {
    const { limits, signal } = this.#options;
    let before = this.#part.bytes;
    const gained = () => this.#part.bytes >= before + gainBytesMin;
    return withRetries(
      limits,
      signal,
      () => {
        before = this.#part.bytes;
        return this.#attempt();
      },
      gained,
    );
  }

  async #attempt(): Promise<Downloaded> {
    const { bytes, hash } = this.#wanted;
    if (bytes === null || hash === null || this.#part.bytes !== bytes) await this.#fetchRest();
    const vouched = this.#wanted.hash;
    if (vouched !== null && !(await this.#part.is(vouched))) await this.#wrongHash(vouched);
    await this.#part.complete();
    return { sha256: this.#part.sha256(), bytes: this.#part.bytes, vouched: vouched !== null };
  }

  /** Pieces of two versions make neither: from the start once more. A whole that is wrong stays wrong. */
  async #wrongHash({ kind, hex }: Hash): Promise<never> {
    const pieced = this.#pieced;
    await this.#restart(null);
    const line = `${this.#wanted.path} is not what the mirror lists (${kind} ${hex.slice(0, 12)}…)`;
    if (pieced) throw new TransferError('hash_mismatch', line);
    throw new SupplyError('hash_mismatch', `${line}: it was damaged on the way, or altered`);
  }

  async #fetchRest(): Promise<void> {
    const { http, limits, signal } = this.#options;
    const watchdog = new Watchdog(limits, signal);
    try {
      const answer = await http.get(this.#url, await this.#range(), watchdog.signal);
      this.#learn(answer.first);
      await this.#begin(answer);
      await this.#receive(answer, watchdog);
    } finally {
      watchdog.stop();
    }
  }

  /** Asks for the rest, if there is a way to know that it belongs to what is there. */
  async #range(): Promise<Record<string, string>> {
    const { bytes, tag } = this.#part;
    if (bytes === 0) return {};
    const provable = tag !== null || this.#wanted.hash !== null;
    if (!provable || bytes > (this.#wanted.bytes ?? Number.POSITIVE_INFINITY)) {
      await this.#restart(null);
      return {};
    }
    return { range: `bytes=${bytes}-`, ...(tag === null ? {} : { 'if-range': tag }) };
  }

  /** Where no tree of the repository says it, the mirror's own answer may: the hub names content by its hash. */
  #learn(first: Headers): void {
    const linked = first.get('x-linked-etag') ?? first.get('etag') ?? '';
    this.#wanted.hash ??= hashOf(linked);
    const size = first.get('x-linked-size');
    if (size !== null && /^\d+$/.test(size)) this.#wanted.bytes ??= Number(size);
  }

  async #begin({ status, headers, body }: HttpAnswer): Promise<void> {
    const tag = strongTag(headers);
    if (status === 200) {
      await this.#restart(tag);
      return this.#expect(headers.get('content-length'));
    }
    const [, from, whole] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
    const continues = status === 206 && Number(from) === this.#part.bytes && this.#part.bytes > 0;
    const sameTag = tag === null || this.#part.tag === null || tag === this.#part.tag;
    if (continues && sameTag) {
      this.#pieced = true;
      return this.#expect(whole ?? null);
    }
    await body?.cancel();
    await this.#restart(null);
    throw new TransferError(
      'server_failed',
      `the server cannot go on with ${this.#wanted.path}: from its start again`,
    );
  }

  /** The length that an answer announces is the listed one, or else it is another file. */
  #expect(length: string | null): void {
    if (length === null || !/^\d+$/.test(length)) return;
    const announced = Number(length);
    this.#wanted.bytes ??= announced;
    if (announced !== this.#wanted.bytes) throw this.#wrongSize(announced);
  }

  async #receive({ body }: HttpAnswer, watchdog: Watchdog): Promise<void> {
    const { path } = this.#wanted;
    try {
      watchdog.start();
      for await (const chunk of body ?? []) {
        watchdog.heard(chunk.length);
        const most = this.#wanted.bytes ?? Number.POSITIVE_INFINITY;
        if (this.#part.bytes + chunk.length > most) throw this.#wrongSize(this.#part.bytes + chunk.length);
        await this.#part.append(chunk);
        this.#options.onBytes(chunk.length);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall !== undefined) throw error;
      throw watchdog.verdict(this.#url, error);
    }
    const { bytes } = this.#wanted;
    if (bytes !== null && this.#part.bytes < bytes)
      throw new TransferError('network_failed', `${path} ended at byte ${this.#part.bytes} of ${bytes}`);
  }

  #wrongSize(bytes: number): SupplyError {
    const { path, bytes: listed } = this.#wanted;
    return new SupplyError(
      'size_mismatch',
      `${path} has ${bytes} bytes or more, and the mirror lists ${listed}`,
    );
  }

  async #restart(tag: string | null): Promise<void> {
    if (this.#part.bytes > 0 && ++this.#restarts > restartsMax)
      throw new SupplyError(
        'server_failed',
        `${this.#wanted.path} is another file each time it is asked for`,
      );
    this.#options.onBytes(-this.#part.bytes);
    await this.#part.restart(tag);
    this.#pieced = false;
  }
}

/** A weak tag says that two files mean the same, not that they are the same bytes. */
function strongTag(headers: Headers): string | null {
  const tag = headers.get('etag');
  return tag?.startsWith('"') ? tag : null;
}
