/**
 * What this process holds in memory and does not need: given back to the system, where the system takes it.
 *
 * Where ONNX Runtime is called natively, its library is to be opened first: koffi takes no settings after a first one.
 */

import { readFileSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { sep } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import type * as Koffi from 'koffi';

/**
 * Gives back what only a start needed: what was parsed, compiled and built on the way, and the code that ran once.
 *
 * The heap is collected where the process was started with `--expose-gc`. It blocks for some hundredths of a
 * second, so it is for a moment in which nobody waits.
 */
export function giveBackStart(): void {
  // The last resort also returns the pages that V8 keeps for its next need: 37 MB after a vocabulary of 151k.
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  giveBackFreed();
  dropProgramPages();
}

/** What was freed and the C library keeps for later; does nothing where it has no word for that. */
export function giveBackFreed(): void {
  try {
    libc().trim(0);
  } catch {}
}

/**
 * Takes the pages of the program and its libraries out of this process's memory: those of a start are many,
 * and what an answer needs comes back from the page cache, without a disk.
 *
 * @returns how many bytes were resident, and are not now
 */
export function dropProgramPages(): number {
  // One that may be written to could be written to between the look and the call, and would be lost.
  return drop(({ path, writable }) => path.startsWith(sep) && !writable);
}

/**
 * Takes the pages of the files in a directory out of this process's memory.
 *
 * ONNX Runtime maps a file of weights and prepares them for its kernels in memory of its own, but keeps the
 * mapping, and with it each page that it has read: a fifth of the model. What is needed after all comes back
 * from the file.
 *
 * @returns how many bytes were resident, and are not now
 */
export function dropFilePages(dir: string): number {
  const inside = realpathSync(dir) + sep;
  return drop(({ path }) => path.startsWith(inside));
}

/**
 * Keeps what is young of the JavaScript heap at a few megabytes, where V8 would let it grow to 32 under a burst and
 * give none of that back. For a process that lives long and does little; before it has done anything.
 */
export function keepYoungHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}

/** `MADV_DONTNEED`: of a mapped file, the pages are read again where somebody wants them. */
const dontNeed = 4;

interface Mapping {
  start: bigint;
  end: bigint;
  path: string;
  writable: boolean;
  residentBytes: number;
  /** Whether a page of it is this process's own by now. */
  written: boolean;
}

/** Pages that somebody has written to, which a file cannot bring back, stay. Does nothing where it cannot be known. */
function drop(wanted: (mapping: Mapping) => boolean): number {
  const mappings = mappedFiles().filter(
    (mapping) => mapping.residentBytes > 0 && !mapping.written && wanted(mapping),
  );
  if (mappings.length === 0) return 0;
  try {
    const { madvise } = libc();
    const dropped = mappings.filter(({ start, end }) => madvise(start, end - start, dontNeed) === 0);
    return dropped.reduce((sum, { residentBytes }) => sum + residentBytes, 0);
  } catch {
    return 0;
  }
}

function mappedFiles(): Mapping[] {
  let text: string;
  try {
    text = readFileSync('/proc/self/smaps', 'utf8');
  } catch {
    return [];
  }
  return [...text.matchAll(mappingPattern)].map(([, start, end, access, path = '', fields = '']) => ({
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    path,
    writable: access === 'w',
    residentBytes: kibibytes(fields, 'Rss') * 1024,
    written: kibibytes(fields, 'Anonymous') > 0,
  }));
}

/** `7f00-7f10 r--p 0000 08:01 42   /path`, then lines of `Name:  1 kB`. */
const mappingPattern = /^([0-9a-f]+)-([0-9a-f]+) .(.).. \S+ \S+ \d+ +(\/.*)\n((?:[A-Z]\w+:.*\n)+)/gm;

function kibibytes(fields: string, name: string): number {
  return Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(fields)?.[1] ?? 0);
}

interface Libc {
  trim(pad: number): number;
  madvise(start: bigint, bytes: bigint, advice: number): number;
}

let bound: Libc | undefined;

/** @throws where there is no koffi, or no such function */
function libc(): Libc {
  if (bound !== undefined) return bound;
  // Not imported: it is native code, and not every process that has this file needs it.
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  const library = koffi.load(null);
  bound = {
    trim: library.func('int malloc_trim(size_t)'),
    madvise: library.func('int madvise(uintptr_t, size_t, int)'),
  };
  return bound;
}
