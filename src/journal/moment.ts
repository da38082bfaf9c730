import { readFileSync } from 'node:fs';
import { monotonicMs } from '../lib/clock.ts';

/**
 * A moment that outlives the process, in both clocks: the monotonic one is exact, but starts anew with
 * each boot of the machine; the wall clock goes on, but may jump on a board without a battery for it.
 */
export interface Moment {
  boot_id: string;
  monotonic_ms: number;
  wall_ms: number;
}

export function momentNow(): Moment {
  return { boot_id: machineBootId(), monotonic_ms: monotonicMs(), wall_ms: Date.now() };
}

/**
 * How long ago a moment was, in milliseconds, never negative. Within one boot of the machine it is
 * exact; across boots the wall clock is all there is, and where it went back no time has passed.
 */
export function sinceMs(moment: Moment, now = momentNow()): number {
  const elapsed =
    moment.boot_id === now.boot_id ? now.monotonic_ms - moment.monotonic_ms : now.wall_ms - moment.wall_ms;
  return Math.max(0, elapsed);
}

let bootId: string | undefined;

/** The kernel's name for this boot; where there is none, one of this process. */
function machineBootId(): string {
  bootId ??= readBootId();
  return bootId;
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return `process-${process.pid}-${Date.now()}`;
  }
}
