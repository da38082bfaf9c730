/**
 * Monotonic time in milliseconds, comparable between processes of one boot.
 *
 * `performance.now()` starts at zero in each process; `hrtime` is CLOCK_MONOTONIC, so the engine's
 * stamps and the daemon's can be subtracted from each other.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
