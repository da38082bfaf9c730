export interface BackoffBounds {
  min_ms: number;
  max_ms: number;
}

/**
 * How long to wait before attempt `attempt` (0 is the first retry): doubled each time, bounded, and
 * jittered over its upper half, so that a fleet that lost its broker together does not return together.
 * `random` is in [0, 1).
 */
export function backoffMs(attempt: number, { min_ms, max_ms }: BackoffBounds, random: number): number {
  const ceiling = Math.min(max_ms, min_ms * 2 ** Math.min(attempt, 30));
  return ceiling / 2 + (ceiling / 2) * random;
}
