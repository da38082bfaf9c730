import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { bytesOf } from '../lib/bytes-of.ts';

/** What a file is of: another version of this layout begins otherwise. */
const magic = Buffer.from('slmd prefix 1\n\0\0');
const hashBytes = 32;
/** magic, hash of all that follows it, hash of the facts, number of tokens. */
const headBytes = magic.length + 2 * hashBytes + 4;
/** Hashed and written at a time: answers go on in between. */
const sliceBytes = 1024 * 1024;
/** No context is longer; a number that is larger is damage. */
const tokensMax = 1 << 20;

/** The tokens of a prefix, and what they have left in the KV cache. */
export interface Prefix {
  ids: readonly number[];
  snapshot: Uint8Array<ArrayBuffer>;
}

/** The size of a file. */
export function prefixBytes(tokens: number, tokenBytes: number): number {
  return headBytes + tokens * (4 + tokenBytes);
}

/** Writes a prefix to a new file that only its owner can read: token ids are text. */
export async function writePrefix(path: string, facts: Buffer, { ids, snapshot }: Prefix): Promise<void> {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(ids.length);
  const data = [facts, count, bytesOf(Int32Array.from(ids)), bytesOf(snapshot)].flatMap(slices);
  const hash = createHash('sha256');
  await hashAll(hash, data);
  const file = await open(path, 'wx', 0o600);
  try {
    for (const part of [magic, hash.digest(), ...data]) await file.writeFile(part);
  } finally {
    await file.close();
  }
}

/** The tokens of a file's prefix; null where it is damaged, or of other facts. */
export async function readIds(path: string, facts: Buffer, tokenBytes: number): Promise<number[] | null> {
  return reading(path, async (file) => {
    const { size } = await file.stat();
    const head = await exactly(file, headBytes);
    if (head === null || !head.subarray(0, magic.length).equals(magic)) return null;
    if (!head.subarray(headBytes - 4 - hashBytes, headBytes - 4).equals(facts)) return null;
    const count = head.readUInt32LE(headBytes - 4);
    if (count > tokensMax || size !== prefixBytes(count, tokenBytes)) return null;
    const ids = await exactly(file, count * 4);
    return ids === null ? null : [...new Int32Array(arrayOf(ids))];
  });
}

/** All of a file; null where anything of it is not as it was written. */
export async function readPrefix(path: string, facts: Buffer, tokenBytes: number): Promise<Prefix | null> {
  const ids = await readIds(path, facts, tokenBytes);
  if (ids === null) return null;
  return reading(path, async (file) => {
    const head = await exactly(file, headBytes);
    const rest = await exactly(file, ids.length * (4 + tokenBytes));
    if (head === null || rest === null) return null;
    const hash = createHash('sha256');
    await hashAll(hash, [head.subarray(magic.length + hashBytes), ...slices(rest)]);
    if (!hash.digest().equals(head.subarray(magic.length, magic.length + hashBytes))) return null;
    return { ids, snapshot: rest.subarray(ids.length * 4) };
  });
}

async function reading<T>(path: string, read: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, 'r');
  try {
    return await read(file);
  } finally {
    await file.close();
  }
}

async function exactly(file: FileHandle, bytes: number): Promise<Buffer<ArrayBuffer> | null> {
  const buffer = Buffer.alloc(bytes);
  const { bytesRead } = await file.read(buffer, 0, bytes);
  return bytesRead === bytes ? buffer : null;
}

async function hashAll(hash: Hash, parts: readonly Buffer[]): Promise<void> {
  for (const part of parts) {
    hash.update(part);
    await turn();
  }
}

function slices(bytes: Buffer): Buffer[] {
  const count = Math.ceil(bytes.length / sliceBytes);
  return Array.from({ length: count }, (_, i) => bytes.subarray(i * sliceBytes, (i + 1) * sliceBytes));
}

/** Memory of its own, so that numbers of four bytes begin where they may. */
function arrayOf(bytes: Buffer): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
