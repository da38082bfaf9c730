import { constants } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { lockDirectory } from './lock.ts';

/** The operations on a file that can fail on a worn or full card; tests bring their own. */
export interface LogStorage {
  /** Makes a directory this process's alone, and returns what gives it back. @throws SlmdError `journal_in_use` */
  lock(dir: string, bootId: string): () => void;
  /** Opens for appending, creating it; `empty` drops what is in it. */
  open(path: string, empty: boolean): Promise<LogHandle>;
  /** Replaces a file by another, durably. */
  replace(from: string, to: string): Promise<void>;
}

export interface LogHandle {
  write(text: string): Promise<void>;
  datasync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
}

export const diskStorage: LogStorage = {
  lock: lockDirectory,
  async open(path, empty) {
    const { O_WRONLY, O_CREAT, O_APPEND, O_TRUNC } = constants;
    const file = await open(path, O_WRONLY | O_CREAT | O_APPEND | (empty ? O_TRUNC : 0), 0o600);
    await syncDirectory(dirname(path));
    return {
      write: (text) => writeAll(file, Buffer.from(text)),
      datasync: () => file.datasync(),
      truncate: (bytes) => file.truncate(bytes),
      close: () => file.close(),
    };
  },
  async replace(from, to) {
    await rename(from, to);
    await syncDirectory(dirname(to));
  },
};

/** A new name is durable when its directory is. */
async function syncDirectory(path: string): Promise<void> {
  const dir = await open(path, 'r');
  try {
    await dir.sync();
  } finally {
    await dir.close();
  }
}

async function writeAll(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}
