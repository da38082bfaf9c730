import { join } from 'node:path';
import type { PromptRequest } from '../contract/prompt.ts';
import type { BackoffBounds } from '../lib/backoff.ts';
import { SlmdError } from '../lib/errors.ts';
import type { OomKills } from '../lib/oom-kills.ts';
import { diskStorage, type LogStorage } from './log-file.ts';
import { type ReadLog, readLog } from './log-reader.ts';
import { LogWriter, type LogWriterOptions } from './log-writer.ts';
import { type Moment, momentNow, reckoned, sinceMs } from './moment.ts';
import { encodeRecord, type JournalRecord, type OomCount, type Routing } from './record.ts';

/** What the device knows of a request id. */
export type Entry = AcceptedEntry | FinishedEntry;

export interface AcceptedEntry {
  state: 'accepted';
  at: Moment;
  request: PromptRequest;
  /** Attempts that have begun. */
  attempts: number;
  /** As the last of them began; null where the kernel does not count. */
  oom: OomCount | null;
}

export interface FinishedEntry {
  state: 'finished';
  at: Moment;
  /** The result's bytes, as they go out each time. */
  result: string;
  routing: Routing;
  /** Whether the broker has acknowledged them. */
  delivered: boolean;
}

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
  readonly #entries = new Map<string, Entry>();
  readonly #sizes = new Map<string, number>();
  #liveBytes = 0;
  /** Of these, what may not be forgotten: accepted, or not delivered. */
  #owedBytes = 0;
  #finished = 0;
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
    this.#entries.clear();
    const read = await readLog(this.#path, (record, bytes) => this.#apply(record, bytes));
    const now = momentNow();
    for (const entry of this.#entries.values()) entry.at = reckoned(entry.at, now);
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
    return this.#entries.get(id) ?? null;
  }

  /** Everything that is not over, in the order of acceptance: what a restarted device must go on with. */
  pending(): { accepted: AcceptedEntry[]; undelivered: { id: string; entry: FinishedEntry }[] } {
    const accepted: AcceptedEntry[] = [];
    const undelivered: { id: string; entry: FinishedEntry }[] = [];
    for (const [id, entry] of this.#entries) {
      if (entry.state === 'accepted') accepted.push(entry);
      else if (!entry.delivered) undelivered.push({ id, entry });
    }
    return { accepted, undelivered };
  }

  /** Resolves when the request would survive. @throws SlmdError `storage_full`: then nothing has happened */
  async accept(request: PromptRequest): Promise<void> {
    const record: JournalRecord = { kind: 'accepted', id: request.id, at: momentNow(), request };
    const line = encodeRecord(record);
    if (this.#owedBytes + Buffer.byteLength(line) + laterLinesBytes > this.#liveBytesMax)
      throw new SlmdError(
        'storage_full',
        `${this.#owedBytes} bytes of prompts and results wait to be answered and delivered: see the status, or raise journal.bytes_max`,
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
    let [count, bytes] = [this.#finished, this.#liveBytes];
    for (const [id, entry] of this.#entries) {
      if (entry.state !== 'finished' || !entry.delivered) continue;
      const overBounds = count > finished_max || bytes > this.#liveBytesMax;
      if (!overBounds && sinceMs(entry.at, now) <= retention_ms) continue;
      count--;
      bytes -= this.#sizes.get(id) ?? 0;
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
  get #liveBytesMax(): number {
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
      snapshot: () => [...this.#entries].flatMap(([id, entry]) => recordsOf(id, entry).map(encodeRecord)),
      worthRewriting: (size) => size > Math.max(rewriteBytesMin, historyFactor * this.#liveBytes),
    };
    return new LogWriter(options, bytes, torn_bytes > 0);
  }

  #append(record: JournalRecord, refusable: boolean, line = encodeRecord(record)): Promise<void> {
    return this.#writer.append(line, refusable, () => this.#apply(record, Buffer.byteLength(line)));
  }

  /**
   * The one place where a record becomes state: at its commit, and again when the log is read.
   *
   * @param bytes of its line: what is written as JSON within JSON may be some times what it says
   */
  #apply(record: JournalRecord, bytes: number): void {
    const known = this.#entries.get(record.id);
    switch (record.kind) {
      case 'accepted': {
        const { at, request } = record;
        this.#set(record.id, { state: 'accepted', at, request, attempts: 0, oom: null }, bytes);
        break;
      }
      case 'started':
        if (known?.state !== 'accepted') break;
        known.attempts = record.attempt;
        known.oom = record.oom ?? null;
        break;
      case 'finished': {
        const { at, result, routing } = record;
        this.#set(record.id, { state: 'finished', at, result, routing, delivered: false }, bytes);
        break;
      }
      case 'delivered':
        if (known?.state !== 'finished' || known.delivered) break;
        known.delivered = true;
        this.#owedBytes -= this.#sizes.get(record.id) ?? 0;
        break;
      case 'forgotten':
        this.#set(record.id, null, 0);
    }
  }

  #set(id: string, entry: Entry | null, bytes: number): void {
    const before = this.#entries.get(id);
    const sizeBefore = this.#sizes.get(id) ?? 0;
    this.#liveBytes -= sizeBefore;
    if (before !== undefined && isOwed(before)) this.#owedBytes -= sizeBefore;
    this.#entries.delete(id); // A new place is at the end: the order of forgetting.
    this.#sizes.delete(id);
    if (entry !== null) {
      const size = bytes + laterLinesBytes;
      this.#entries.set(id, entry);
      this.#sizes.set(id, size);
      this.#liveBytes += size;
      if (isOwed(entry)) this.#owedBytes += size;
    }
    this.#finished += Number(entry?.state === 'finished') - Number(before?.state === 'finished');
  }
}

/** What is written of an entry besides: that an attempt began, that its result was delivered. */
const laterLinesBytes = 384;

function isOwed(entry: Entry): boolean {
  return entry.state === 'accepted' || !entry.delivered;
}

/** The records that say of an entry all that is still true. */
function recordsOf(id: string, entry: Entry): JournalRecord[] {
  if (entry.state === 'accepted') {
    const accepted: JournalRecord = { kind: 'accepted', id, at: entry.at, request: entry.request };
    return entry.attempts === 0 ? [accepted] : [accepted, startedRecord(id, entry.attempts, entry.oom)];
  }
  const { at, result, routing, delivered } = entry;
  const finished: JournalRecord = { kind: 'finished', id, at, result, routing };
  return delivered ? [finished, { kind: 'delivered', id }] : [finished];
}

function startedRecord(id: string, attempt: number, oom: OomCount | null): JournalRecord {
  return { kind: 'started', id, attempt, ...(oom === null ? {} : { oom }) };
}
