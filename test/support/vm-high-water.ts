import { readFileSync } from 'node:fs';

/** The most memory that this process has had resident so far, in bytes. Linux only. */
export function residentPeakBytes(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
}
