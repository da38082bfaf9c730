import type { PromptRequest } from '../contract/prompt.ts';
import { type Moment, reckoned } from './moment.ts';
import { type JournalRecord, type OomCount, type Routing, startedRecord } from './record.ts';

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

/** An entry, and what it takes of a log that holds nothing else. */
interface Kept {
  entry: Entry;
  bytes: number;
}

/** What is written of an entry besides: that an attempt began, that its result was delivered. */
const laterLinesBytes = 384;

/** What a log's entry will take that begins with a line of so many bytes. */
export function entryBytes(lineBytes: number): number {
  return lineBytes + laterLinesBytes;
}

/** What the records of a log add up to: an entry for each id, in the order of forgetting, and what they take. */
export class Entries {
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;
  #owedBytes = 0;
  #finished = 0;

  /** What all entries take of a log that holds nothing else. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Of these, what may not be forgotten: accepted, or not delivered. */
  get owedBytes(): number {
    return this.#owedBytes;
  }

  /** How many are finished. */
  get finished(): number {
    return this.#finished;
  }

  get(id: string): Entry | null {
    return this.#kept.get(id)?.entry ?? null;
  }

  *[Symbol.iterator](): Generator<{ id: string; entry: Entry; bytes: number }> {
    for (const [id, kept] of this.#kept) yield { id, ...kept };
  }

  /** Every moment as it is to be understood from `now` on. */
  reckon(now: Moment): void {
    for (const { entry } of this.#kept.values()) entry.at = reckoned(entry.at, now);
  }

  /**
   * The one place where a record becomes state: at its commit, and again when the log is read.
   *
   * @param lineBytes what is written as JSON within JSON may be some times what it says
   */
  apply(record: JournalRecord, lineBytes: number): void {
    const { id } = record;
    const known = this.get(id);
    switch (record.kind) {
      case 'accepted': {
        const { at, request } = record;
        this.#put(id, { state: 'accepted', at, request, attempts: 0, oom: null }, lineBytes);
        break;
      }
      case 'started':
        if (known?.state !== 'accepted') break;
        known.attempts = record.attempt;
        known.oom = record.oom ?? null;
        break;
      case 'finished': {
        const { at, result, routing } = record;
        this.#put(id, { state: 'finished', at, result, routing, delivered: false }, lineBytes);
        break;
      }
      case 'delivered':
        if (known?.state !== 'finished' || known.delivered) break;
        known.delivered = true;
        this.#owedBytes -= this.#kept.get(id)?.bytes ?? 0;
        break;
      case 'forgotten':
        this.#drop(id);
    }
  }

  /** The records that say of all entries what is still true. */
  *records(): Iterable<JournalRecord> {
    for (const [id, { entry }] of this.#kept) yield* recordsOf(id, entry);
  }

  /** A new place is at the end: the order of forgetting. */
  #put(id: string, entry: Entry, lineBytes: number): void {
    this.#drop(id);
    const kept = { entry, bytes: entryBytes(lineBytes) };
    this.#kept.set(id, kept);
    this.#count(kept, 1);
  }

  #drop(id: string): void {
    const kept = this.#kept.get(id);
    if (kept === undefined) return;
    this.#kept.delete(id);
    this.#count(kept, -1);
  }

  #count({ entry, bytes }: Kept, sign: 1 | -1): void {
    this.#bytes += sign * bytes;
    if (entry.state === 'accepted' || !entry.delivered) this.#owedBytes += sign * bytes;
    if (entry.state === 'finished') this.#finished += sign;
  }
}

function recordsOf(id: string, entry: Entry): JournalRecord[] {
  if (entry.state === 'accepted') {
    const accepted: JournalRecord = { kind: 'accepted', id, at: entry.at, request: entry.request };
    return entry.attempts === 0 ? [accepted] : [accepted, startedRecord(id, entry.attempts, entry.oom)];
  }
  const { at, result, routing, delivered } = entry;
  const finished: JournalRecord = { kind: 'finished', id, at, result, routing };
  return delivered ? [finished, { kind: 'delivered', id }] : [finished];
}
