import { crc32 } from 'node:zlib';
import type { PromptRequest, ReplyTo } from '../contract/prompt.ts';
import type { Moment } from './moment.ts';

/** What is needed to publish a result besides its bytes. */
export type Routing = Pick<PromptRequest, 'reply_to' | 'traceparent'>;

/** One fact about one request. The journal is a sequence of these, and nothing else. */
export type JournalRecord =
  /** It is ours: from here on it ends in exactly one result. */
  | { kind: 'accepted'; id: string; at: Moment; request: PromptRequest }
  /** An attempt begins: a prompt that takes everything down is counted before it can. */
  | { kind: 'started'; id: string; attempt: number; oom?: OomCount }
  /** The content of its result is fixed. */
  | { kind: 'finished'; id: string; at: Moment; result: string; routing: Routing }
  /** The broker has acknowledged its result. */
  | { kind: 'delivered'; id: string }
  /** Its id is remembered no longer. */
  | { kind: 'forgotten'; id: string };

/** How many processes the kernel had killed for want of memory, in one boot of the machine. */
export interface OomCount {
  boot_id: string;
  kills: number;
}

export function startedRecord(id: string, attempt: number, oom: OomCount | null): JournalRecord {
  return { kind: 'started', id, attempt, ...(oom === null ? {} : { oom }) };
}

/** The JSON of a record: the one member that JSON cannot hold is Correlation Data, which is bytes. */
type Stored<T> = T extends { request: PromptRequest }
  ? Omit<T, 'request'> & { request: Omit<PromptRequest, 'reply_to'> & { reply_to: StoredReply | null } }
  : T extends { routing: Routing }
    ? Omit<T, 'routing'> & { routing: Omit<Routing, 'reply_to'> & { reply_to: StoredReply | null } }
    : T;

interface StoredReply {
  topic: string;
  correlation_base64: string | null;
}

/** One line: eight hex digits of CRC-32 over the JSON text, a space, the JSON text, a newline. */
export function encodeRecord(record: JournalRecord): string {
  const text = JSON.stringify(stored(record));
  return `${checksum(text)} ${text}\n`;
}

/** A line without its newline; null where it is not what was once written, or not by a version that this one knows. */
export function decodeRecord(line: string): JournalRecord | null {
  const text = line.slice(checksumChars + 1);
  if (line[checksumChars] !== ' ' || line.slice(0, checksumChars) !== checksum(text)) return null;
  try {
    const record = JSON.parse(text) as Stored<JournalRecord>;
    return isKnown(record) ? restored(record) : null;
  } catch {
    return null;
  }
}

/** After a downgrade the log has records of a later version: those of another shape are none of this one's. */
function isKnown(record: Stored<JournalRecord>): boolean {
  if (typeof record.id !== 'string') return false;
  switch (record.kind) {
    case 'accepted':
      return isMoment(record.at) && isRequest(record.request);
    case 'started':
      return Number.isInteger(record.attempt);
    case 'finished':
      return isMoment(record.at) && typeof record.result === 'string' && typeof record.routing === 'object';
    default:
      return record.kind === 'delivered' || record.kind === 'forgotten';
  }
}

function isMoment({ boot_id, monotonic_ms, wall_ms }: Moment): boolean {
  return typeof boot_id === 'string' && Number.isFinite(monotonic_ms) && Number.isFinite(wall_ms);
}

function isRequest({
  messages,
  sampling,
  stop,
  priority,
  received_at,
  bytes,
}: Omit<PromptRequest, 'reply_to'>): boolean {
  return (
    Array.isArray(messages) &&
    typeof sampling === 'object' &&
    Array.isArray(stop) &&
    typeof priority === 'string' &&
    Number.isFinite(received_at) &&
    Number.isFinite(bytes)
  );
}

const checksumChars = 8;

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(checksumChars, '0');
}

function stored(record: JournalRecord): Stored<JournalRecord> {
  if (record.kind === 'accepted')
    return { ...record, request: { ...record.request, reply_to: storedReply(record.request.reply_to) } };
  if (record.kind === 'finished')
    return { ...record, routing: { ...record.routing, reply_to: storedReply(record.routing.reply_to) } };
  return record;
}

function restored(record: Stored<JournalRecord>): JournalRecord {
  if (record.kind === 'accepted')
    return { ...record, request: { ...record.request, reply_to: restoredReply(record.request.reply_to) } };
  if (record.kind === 'finished')
    return { ...record, routing: { ...record.routing, reply_to: restoredReply(record.routing.reply_to) } };
  return record;
}

function storedReply(reply: ReplyTo | null): StoredReply | null {
  return reply && { topic: reply.topic, correlation_base64: reply.correlation?.toString('base64') ?? null };
}

function restoredReply(reply: StoredReply | null): ReplyTo | null {
  const correlation = reply?.correlation_base64 ?? null;
  return (
    reply && {
      topic: reply.topic,
      correlation: correlation === null ? null : Buffer.from(correlation, 'base64'),
    }
  );
}
