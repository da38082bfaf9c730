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
import { Dispensable } from './dispensable.ts';
import { type Mapping, parseSmaps } from './smaps.ts';

/**
 * Gives back what only a start needed: what was parsed, compiled and built on the way, and the code that ran once.
 * Where one of it cannot be, that is said, and the others are given back.
 *
 * The heap is collected where the process was started with `--expose-gc`. It blocks for some hundredths of a
 * second, so it is for a moment in which nobody waits.
 *
 * @param say a line for the log
 */
export function giveBackStart(say?: (line: string) => void): void {
  void new Dispensable('the heap is as a start left it', say).attempt(collectHeap);
  void new Dispensable('what a start has freed stays in memory', say).attempt(giveBackFreed);
  void new Dispensable('program files stay in memory', say).attempt(dropProgramPages);
}

function collectHeap(): void {
  // The last resort also returns the pages that V8 keeps for its next need: 37 MB after a vocabulary of 151k.
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/**
 * What was freed and the C library keeps for later.
 *
 * @throws where the C library has no word for that, or cannot be called
 */
export function giveBackFreed(): void {
  libc().trim(0);
}

/**
 * Takes the pages of the program and its libraries out of this process's memory: those of a start are many,
 * and what an answer needs comes back from the page cache, without a disk.
 *
 * @returns how many bytes were resident, and are not now
 * @throws where the system does not say, or cannot be told
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
 * @throws as `dropProgramPages`
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

/** Pages that somebody has written to, which a file cannot bring back, stay. */
function drop(wanted: (mapping: Mapping) => boolean): number {
  const clean = parseSmaps(readFileSync('/proc/self/smaps', 'utf8')).filter(
    (mapping) => mapping.resident_bytes > 0 && mapping.own_bytes === 0 && wanted(mapping),
  );
  if (clean.length === 0) return 0;
  const { madvise } = libc();
  const dropped = clean.filter(({ start, end }) => madvise(start, end - start, dontNeed) === 0);
  return dropped.reduce((sum, { resident_bytes }) => sum + resident_bytes, 0);
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
