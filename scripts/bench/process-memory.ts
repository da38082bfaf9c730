import { readFileSync } from 'node:fs';

/** What of a process is in memory, in bytes. */
export interface ProcessMemory {
  resident_bytes: number;
  /** Of its own: what nothing but swap could take its place. */
  own_bytes: number;
  /** Pages of files, which the kernel may take back at any time, by whose they are. */
  file_bytes: { node: number; onnxruntime: number; model: number; other: number };
}

export function memoryOf(pid: number): ProcessMemory {
  return sumOf(readFileSync(`/proc/${pid}/smaps`, 'utf8'));
}

/** @param smaps what the kernel says of each mapping: proc_pid_smaps(5) */
export function sumOf(smaps: string): ProcessMemory {
  const sum: ProcessMemory = {
    resident_bytes: 0,
    own_bytes: 0,
    file_bytes: { node: 0, onnxruntime: 0, model: 0, other: 0 },
  };
  for (const [, path = '', fields = ''] of smaps.matchAll(mappingPattern)) {
    const [resident, own] = [bytesOf(fields, 'Rss'), bytesOf(fields, 'Anonymous')];
    sum.resident_bytes += resident;
    sum.own_bytes += own;
    sum.file_bytes[ownerOf(path)] += resident - own;
  }
  return sum;
}

/** `7f00-7f10 r--p 0000 08:01 42   /path`, or without one, then lines of `Name:  1 kB` and one of flags. */
const mappingPattern = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)\n((?:[A-Z]\w+:.*\n)+)/gm;

function bytesOf(fields: string, name: string): number {
  return Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(fields)?.[1] ?? 0) * 1024;
}

function ownerOf(path: string): keyof ProcessMemory['file_bytes'] {
  if (path.endsWith('/node')) return 'node';
  if (path.includes('libonnxruntime')) return 'onnxruntime';
  return /\.onnx(\.data|_data)?$/.test(path) ? 'model' : 'other';
}
