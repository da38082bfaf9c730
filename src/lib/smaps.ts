import { procBytes } from './proc-bytes.ts';

/** A mapping of a process's memory, and what of it is there. */
export interface Mapping {
  start: bigint;
  end: bigint;
  writable: boolean;
  /** Of the file; what stands in brackets, or nothing, where there is none. */
  path: string;
  resident_bytes: number;
  /** Of these, what no file could bring back: pages of the process's own. */
  own_bytes: number;
}

/** Reads /proc/<pid>/smaps: proc_pid_smaps(5). */
export function parseSmaps(smaps: string): Mapping[] {
  return [...smaps.matchAll(mappingPattern)].map(([, start, end, access, path = '', fields = '']) => ({
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    writable: access === 'w',
    path,
    resident_bytes: procBytes(fields, 'Rss') ?? 0,
    own_bytes: procBytes(fields, 'Anonymous') ?? 0,
  }));
}

/** `7f00-7f10 r--p 0000 08:01 42   /path`, or without one, then lines of `Name:  1 kB` and one of flags. */
const mappingPattern = /^([0-9a-f]+)-([0-9a-f]+) .(.).. \S+ \S+ \d+ *(.*)\n((?:[A-Z]\w+:.*\n)+)/gm;
