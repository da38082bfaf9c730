import { readFileSync, realpathSync } from 'node:fs';
import { sep } from 'node:path';
import type { Library } from './library.ts';

/** `MADV_DONTNEED`: of a mapped file, the pages are read again where somebody wants them. */
const dontNeed = 4;

/**
 * Takes the pages of mapped files out of this process's memory.
 *
 * ONNX Runtime maps a file of weights and prepares them for its kernels in memory of its own, but keeps the
 * mapping, and with it each page that it has read: a fifth of the model. What is needed after all comes back
 * from the file. Pages that somebody has written to, which a file cannot bring back, stay. Does nothing where
 * the system does not say what is mapped.
 *
 * @param dir where the files lie; others' are left alone
 * @returns how many bytes were resident, and are not now
 */
export function dropFilePages(library: Library, dir: string): number {
  const mappings = mappingsOf(dir).filter(({ residentBytes, written }) => residentBytes > 0 && !written);
  if (mappings.length === 0) return 0;
  const madvise = library.koffi.load(null).func('int madvise(uintptr_t, size_t, int)');
  const dropped = mappings.filter(({ start, end }) => madvise(start, end - start, dontNeed) === 0);
  return dropped.reduce((sum, { residentBytes }) => sum + residentBytes, 0);
}

interface Mapping {
  start: bigint;
  end: bigint;
  residentBytes: number;
  /** Whether a page of it is this process's own by now. */
  written: boolean;
}

function mappingsOf(dir: string): Mapping[] {
  let text: string;
  try {
    text = readFileSync('/proc/self/smaps', 'utf8');
  } catch {
    return [];
  }
  const inside = realpathSync(dir) + sep;
  return [...text.matchAll(mappingPattern)]
    .filter(([, , , path = '']) => path.startsWith(inside))
    .map(([, start, end, , fields = '']) => ({
      start: BigInt(`0x${start}`),
      end: BigInt(`0x${end}`),
      residentBytes: kibibytes(fields, 'Rss') * 1024,
      written: kibibytes(fields, 'Anonymous') > 0,
    }));
}

/** `7f00-7f10 r--p 0000 08:01 42   /path`, then lines of `Name:  1 kB`. */
const mappingPattern = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ +(\/.*)\n((?:[A-Z]\w+:.*\n)+)/gm;

function kibibytes(fields: string, name: string): number {
  return Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(fields)?.[1] ?? 0);
}
