import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { modelIdPattern } from '../model/manifest.ts';
import { SupplyError } from './errors.ts';

/** Which model of a store is active. Null is the model that ships with slmd. */
export interface Pointer {
  active: string | null;
  /** What was active before, the latest first. */
  history: (string | null)[];
}

/** Rolling back further than this is choosing anew. */
export const historyMax = 8;

export const pointerFile = 'active.json';

const name = z.string().regex(modelIdPattern).nullable();
const pointerSchema = z.object({
  format: z.literal(1),
  active: name,
  history: z.array(name).max(historyMax),
});

/** @throws SupplyError `store_invalid` where the file is there and says nothing that can be understood */
export function readPointer(store: string): Pointer {
  const path = join(store, pointerFile);
  try {
    const { active, history } = pointerSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    return { active, history };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { active: null, history: [] };
    throw new SupplyError('store_invalid', `${path} cannot be read: remove it and activate a model again`, {
      cause: error,
    });
  }
}

/** The steps by which the disk is changed; a test may end the process between any two of them. */
export interface Disk {
  /** Writes a whole file and waits until it is on the disk. */
  write(path: string, text: string): void;
  rename(from: string, to: string): void;
  /** Waits until a file, or the names in a directory, are on the disk. */
  sync(path: string): void;
}

export const realDisk: Disk = {
  write: (path, text) => withFile(path, 'w', (fd) => writeSync(fd, text)),
  rename: renameSync,
  sync: (path) => withFile(path, 'r', () => undefined),
};

/** INVARIANT: at every instant, whatever happens, the file is the old one or the new one, and whole. */
export function writePointer(store: string, { active, history }: Pointer, disk: Disk = realDisk): void {
  const path = join(store, pointerFile);
  const pointer = { format: 1, active, history: history.slice(0, historyMax) };
  disk.write(`${path}.new`, `${JSON.stringify(pointer)}\n`);
  disk.rename(`${path}.new`, path);
  disk.sync(store);
}

function withFile(path: string, flags: string, use: (fd: number) => void): void {
  const fd = openSync(path, flags, 0o644);
  try {
    use(fd);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
