import { setTimeout as pause } from 'node:timers/promises';
import { type BackoffBounds, backoffMs } from '../lib/backoff.ts';
import { SupplyError, type SupplyErrorCode } from './errors.ts';

/** What a transfer may cost in time. Every bound is for one file or one page of a listing. */
export interface TransferLimits {
  /** A server that has not begun to answer by then does not. */
  headers_ms: number;
  /** In so long … */
  stall_ms: number;
  /** … so much must come: a modem brings it, a connection that only looks alive does not. */
  stall_bytes_min: number;
  /** Failures in a row, after which the command gives up. */
  attempts_max: number;
  retry: BackoffBounds;
  /** A server that asks for a longer pause is taken at its word: come again later. */
  retry_after_max_ms: number;
  redirects_max: number;
}

export const transferLimits: TransferLimits = {
  headers_ms: 30_000,
  stall_ms: 30_000,
  stall_bytes_min: 4096,
  attempts_max: 6,
  retry: { min_ms: 500, max_ms: 30_000 },
  retry_after_max_ms: 120_000,
  redirects_max: 5,
};

/** A transfer that ended; the same request may succeed when it is repeated. */
export class TransferError extends SupplyError {
  /** How long the server asks to wait first. */
  readonly retry_after_ms: number | null;

  constructor(code: SupplyErrorCode, message: string, retryAfterMs: number | null = null, cause?: unknown) {
    super(code, message, { cause });
    this.retry_after_ms = retryAfterMs;
  }
}

/**
 * Makes attempts until one succeeds. Anything but a TransferError ends it at once.
 *
 * @param gained whether an attempt that failed brought something worth having: it then does not count
 */
export async function withRetries<T>(
  limits: TransferLimits,
  signal: AbortSignal,
  attempt: () => Promise<T>,
  gained: () => boolean = () => false,
): Promise<T> {
  for (let failures = 0; ; ) {
    try {
      return await attempt();
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof TransferError)) throw error;
      failures = gained() ? 1 : failures + 1;
      if (failures >= limits.attempts_max) throw error;
      const own = backoffMs(failures - 1, limits.retry, Math.random());
      const wait = Math.max(own, error.retry_after_ms ?? 0);
      if (wait > limits.retry_after_max_ms)
        throw new SupplyError(
          error.code,
          `${error.message}; it asks to come again in ${Math.ceil(wait / 1000)} s`,
        );
      await pause(wait, undefined, { signal });
    }
  }
}
