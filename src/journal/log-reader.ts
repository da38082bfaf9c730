import { readFile, truncate } from 'node:fs/promises';
import { decodeRecord, type JournalRecord } from './record.ts';

export interface ReadLog {
  records: JournalRecord[];
  /** The file's length after reading: it ends with a whole line. */
  bytes: number;
  /** A last line that was being written when the power went. It was never acknowledged. */
  torn_bytes: number;
  /** Lines inside the file that are not what was once written: a card that forgets. */
  damaged_lines: number;
}

/** Reads a log, and cuts a torn tail off so that the next line starts on its own. */
export async function readLog(path: string): Promise<ReadLog> {
  const content = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  });
  const end = content.lastIndexOf(10) + 1;
  if (end < content.length) await truncate(path, end);
  const log: ReadLog = { records: [], bytes: end, torn_bytes: content.length - end, damaged_lines: 0 };
  for (let start = 0; start < end; ) {
    const newline = content.indexOf(10, start);
    const record = decodeRecord(content.toString('utf8', start, newline));
    if (record === null) log.damaged_lines++;
    else log.records.push(record);
    start = newline + 1;
  }
  return log;
}
