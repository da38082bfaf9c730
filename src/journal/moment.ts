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

/**
 * A moment of another boot as it can be reckoned with: the same one, or now where its wall clock was not set
 * yet, or was set back since. An age of half a century, or one that never grows, is none.
 */
export function reckoned(moment: Moment, now: Moment): Moment {
  const set = moment.wall_ms >= clocksSetSince_ms && moment.wall_ms <= now.wall_ms;
  return set || moment.boot_id === now.boot_id ? moment : now;
}

/** slmd is younger than this. A board without a battery for its clock starts in 1970, until it hears the time. */
const clocksSetSince_ms = Date.UTC(2025, 0, 1);

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
