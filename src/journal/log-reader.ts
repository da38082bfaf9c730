import { createReadStream } from 'node:fs';
import { decodeRecord, type JournalRecord } from './record.ts';

export interface ReadLog {
  /** Up to here there are whole lines. */
  bytes: number;
  /** A last line that was being written when the power went. It was never acknowledged. */
  torn_bytes: number;
  /** Lines inside the file that are not what was once written: a card that forgets. */
  damaged_lines: number;
}

/** A log is mostly history: of all of it at once a small board would have no memory for the model. */
const chunkBytes = 262_144;

/**
 * Reads a log from its start, a record at a time. One that is not there is empty.
 *
 * @param take is given each record, and the bytes of its line
 */
export async function readLog(
  path: string,
  take: (record: JournalRecord, bytes: number) => void,
): Promise<ReadLog> {
  const log: ReadLog = { bytes: 0, torn_bytes: 0, damaged_lines: 0 };
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: chunkBytes })) {
      const text = Buffer.concat([rest, chunk as Buffer]);
      const end = text.lastIndexOf(10) + 1;
      for (let start = 0; start < end; ) {
        const newline = text.indexOf(10, start);
        const record = decodeRecord(text.toString('utf8', start, newline));
        if (record === null) log.damaged_lines++;
        else take(record, newline + 1 - start);
        start = newline + 1;
      }
      log.bytes += end;
      rest = text.subarray(end);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return { ...log, torn_bytes: rest.length };
}
