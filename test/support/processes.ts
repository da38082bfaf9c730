import { readdirSync, readFileSync } from 'node:fs';
import { procBytes } from '../../src/lib/proc-bytes.ts';

/** Processes with this parent, the oldest first: by the fourth field of /proc/<pid>/stat. */
export function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => statOf(pid)[1] === String(parent))
    .sort((a, b) => a - b);
}

/** What any user of the machine may see of a process: its arguments, its threads' names, its environment. */
export function shownBy(pid: number): string {
  const threads = readdirSync(`/proc/${pid}/task`).map((thread) => `task/${thread}/comm`);
  return ['cmdline', 'environ', ...threads].map((name) => read(pid, name).replaceAll('\0', '\n')).join('\n');
}

/** The arguments of a process, empty for one that is gone. */
export function commandOf(pid: number): string {
  return read(pid, 'cmdline');
}

/** Memory that a process has in RAM, null for one that is gone. */
export function rssBytesOf(pid: number): number | null {
  return procBytes(read(pid, 'status'), 'VmRSS');
}

/** The most memory that this process has had in RAM so far. */
export function rssPeakBytes(): number {
  return procBytes(read(process.pid, 'status'), 'VmHWM') ?? Number.NaN;
}

/** Open files and sockets of a process, null for one that is gone. */
export function handlesOf(pid: number): number | null {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return null;
  }
}

/** The fields after the name, which may hold anything: state, parent, … */
function statOf(pid: number): string[] {
  return read(pid, 'stat')
    .replace(/^.*\) /s, '')
    .split(' ');
}

function read(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch {
    return '';
  }
}
