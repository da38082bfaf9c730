import { readFileSync } from 'node:fs';
import { parseSmaps } from '../../src/lib/smaps.ts';

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
  for (const { path, resident_bytes, own_bytes } of parseSmaps(smaps)) {
    sum.resident_bytes += resident_bytes;
    sum.own_bytes += own_bytes;
    sum.file_bytes[ownerOf(path)] += resident_bytes - own_bytes;
  }
  return sum;
}

function ownerOf(path: string): keyof ProcessMemory['file_bytes'] {
  if (path.endsWith('/node')) return 'node';
  if (path.includes('libonnxruntime')) return 'onnxruntime';
  return /\.onnx(\.data|_data)?$/.test(path) ? 'model' : 'other';
}
