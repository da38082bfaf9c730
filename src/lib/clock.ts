/**
 * Monotonic time in milliseconds, comparable between processes of one boot.
 *
 * `performance.now()` starts at zero in each process; `hrtime` is CLOCK_MONOTONIC, so the engine's
 * stamps and the daemon's can be subtracted from each other.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** The longest delay that `setTimeout` takes, 24 days; a longer one fires at once. */
export const timerMaxMs = 2 ** 31 - 1;
