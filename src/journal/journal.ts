import { join } from 'node:path';
import type { PromptRequest } from '../contract/prompt.ts';
import type { BackoffBounds } from '../lib/backoff.ts';
import { SlmdError } from '../lib/errors.ts';
import type { OomKills } from '../lib/oom-kills.ts';
import { type AcceptedEntry, Entries, type Entry, entryBytes, type FinishedEntry } from './entries.ts';
import { diskStorage, type LogStorage } from './log-file.ts';
import { type ReadLog, readLog } from './log-reader.ts';
import { LogWriter, type LogWriterOptions } from './log-writer.ts';
import { momentNow, sinceMs } from './moment.ts';
import { encodeRecord, type JournalRecord, type OomCount, type Routing, startedRecord } from './record.ts';

export interface JournalOptions {
  /** Where the log is; nobody else writes there. */
  dir: string;
  /** How long a finished id is remembered. */
  retention_ms: number;
  /** Results remembered at most; the oldest delivered ones go first. */
  finished_max: number;
  /**
   * What the log may take on disk, with its history and a fresh one beside it. Where the entries take a fifth
   * of it, old results are forgotten; where those that are not over do, prompts are refused.
   */
  bytes_max: number;
  retry: BackoffBounds;
  /** Noted with each attempt, so that the next process knows why this one ended. */
  oomKills: OomKills;
  storage?: LogStorage;
  trouble(error: Error): void;
  recovered(): void;
}

/** What a disk says that is full, worn or mounted read-only. Anything else is a directory that is not there to be used. */
const passingTroubles: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO']);

/** Logs smaller than this are not worth a rewrite; larger ones where three quarters are history. */
const rewriteBytesMin = 262_144;
const historyFactor = 4;

/**
 * The durable record of each request and its result: an append-only log and the state it adds up to.
 *
 * INVARIANTS: what `find` shows is on disk; an accepted id stays until it is finished; a finished one
 * stays until its retention has passed or a bound is reached, and an undelivered one in any case; nothing
 * is accepted that could not be kept so long; the log read from its start gives exactly the entries there are.
 */
export class Journal {
  readonly #options: JournalOptions;
  readonly #storage: LogStorage;
  #entries = new Entries();
  #writer: LogWriter;
  #unlock: (() => void) | null = null;

  constructor(options: JournalOptions) {
    this.#options = options;
    this.#storage = options.storage ?? diskStorage;
    this.#writer = this.#writerFrom({ bytes: 0, torn_bytes: 0 });
  }

  /**
   * Reads what an earlier process has left, a torn or damaged log included. A disk that is full or read-only
   * is trouble from the start, and no reason not to: what there is to deliver is delivered meanwhile.
   *
   * @returns what was found: the bytes of a torn tail, the lines that were damaged
   * @throws SlmdError `journal_in_use`; file system errors as they come
   */
  async start(): Promise<Pick<ReadLog, 'torn_bytes' | 'damaged_lines'>> {
    const trouble = this.#tryLock();
    this.#entries = new Entries();
    const read = await readLog(this.#path, (record, bytes) => this.#entries.apply(record, bytes));
    this.#entries.reckon(momentNow());
    this.#writer = this.#writerFrom(read);
    if (trouble !== null) this.#writer.beginTroubled(trouble);
    return { torn_bytes: read.torn_bytes, damaged_lines: read.damaged_lines };
  }

  /** Writes what waits to be written, and lets another process have the journal. */
  async stop(): Promise<void> {
    await this.#writer.close();
    this.#unlock?.();
    this.#unlock = null;
  }

  /** @returns why a disk that may get well does not take the lock now, null where it does */
  #tryLock(): Error | null {
    try {
      this.#lock();
      return null;
    } catch (error) {
      if (!passingTroubles.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      return error as Error;
    }
  }

  #lock(): void {
    this.#unlock ??= this.#storage.lock(this.#options.dir, momentNow().boot_id);
  }

  find(id: string): Entry | null {
    return this.#entries.get(id);
  }

  /** Everything that is not over, in the order of acceptance: what a restarted device must go on with. */
  pending(): { accepted: AcceptedEntry[]; undelivered: { id: string; entry: FinishedEntry }[] } {
    const accepted: AcceptedEntry[] = [];
    const undelivered: { id: string; entry: FinishedEntry }[] = [];
    for (const { id, entry } of this.#entries) {
      if (entry.state === 'accepted') accepted.push(entry);
      else if (!entry.delivered) undelivered.push({ id, entry });
    }
    return { accepted, undelivered };
  }

  /** Resolves when the request would survive. @throws SlmdError `storage_full`: then nothing has happened */
  async accept(request: PromptRequest): Promise<void> {
    const record: JournalRecord = { kind: 'accepted', id: request.id, at: momentNow(), request };
    const line = encodeRecord(record);
    const { owedBytes } = this.#entries;
    if (owedBytes + entryBytes(Buffer.byteLength(line)) > this.#entriesBytesMax)
      throw new SlmdError(
        'storage_full',
        `${owedBytes} bytes of prompts and results wait to be answered and delivered: see the status, or raise journal.bytes_max`,
      );
    return this.#append(record, true, line);
  }

  started(id: string, attempt: number): Promise<void> {
    return this.#append(startedRecord(id, attempt, this.#oom()), false);
  }

  /** Whether the kernel has killed for want of memory since the last attempt began: then that may be how it ended. */
  memoryRanOut({ oom }: AcceptedEntry): boolean {
    const now = this.#oom();
    return oom !== null && now !== null && oom.boot_id === now.boot_id && now.kills > oom.kills;
  }

  /** Resolves when the result's content is fixed; where the disk is in trouble, when that is over. */
  async finish(id: string, result: string, routing: Routing): Promise<void> {
    await this.#append({ kind: 'finished', id, at: momentNow(), result, routing }, false);
  }

  delivered(id: string): Promise<void> {
    return this.#append({ kind: 'delivered', id }, false);
  }

  /**
   * Forgets what its retention or a bound lets go. Resolves with the ids when they are forgotten: their
   * retained results can be taken back.
   */
  async sweep(): Promise<string[]> {
    const { retention_ms, finished_max } = this.#options;
    const now = momentNow();
    const swept: string[] = [];
    const forgotten: Promise<void>[] = [];
    let { finished: count, bytes } = this.#entries;
    for (const { id, entry, bytes: own } of this.#entries) {
      if (entry.state !== 'finished' || !entry.delivered) continue;
      const overBounds = count > finished_max || bytes > this.#entriesBytesMax;
      if (!overBounds && sinceMs(entry.at, now) <= retention_ms) continue;
      count--;
      bytes -= own;
      swept.push(id);
      forgotten.push(this.#append({ kind: 'forgotten', id }, false));
    }
    await Promise.all(forgotten);
    return swept;
  }

  #oom(): OomCount | null {
    const kills = this.#options.oomKills();
    return kills === null ? null : { boot_id: momentNow().boot_id, kills };
  }

  /** A log that is written anew has grown to four times its entries, and the fresh one is there beside it. */
  get #entriesBytesMax(): number {
    return this.#options.bytes_max / (historyFactor + 1);
  }

  get #path(): string {
    return join(this.#options.dir, 'journal.log');
  }

  #writerFrom({ bytes, torn_bytes }: Pick<ReadLog, 'bytes' | 'torn_bytes'>): LogWriter {
    const { retry, trouble, recovered } = this.#options;
    const options: LogWriterOptions = {
      path: this.#path,
      storage: {
        // What could not be locked at the start is locked before it is written to.
        open: async (path, empty) => {
          this.#lock();
          return this.#storage.open(path, empty);
        },
        replace: (from, to) => this.#storage.replace(from, to),
      },
      retry,
      trouble,
      recovered,
      snapshot: () => [...this.#entries.records()].map(encodeRecord),
      worthRewriting: (size) => size > Math.max(rewriteBytesMin, historyFactor * this.#entries.bytes),
    };
    return new LogWriter(options, bytes, torn_bytes > 0);
  }

  #append(record: JournalRecord, refusable: boolean, line = encodeRecord(record)): Promise<void> {
    return this.#writer.append(line, refusable, () => this.#entries.apply(record, Buffer.byteLength(line)));
  }
}
