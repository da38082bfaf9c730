import { SupplyError } from './errors.ts';
import { reasonOf } from './http.ts';
import { TransferError, type TransferLimits } from './transfer-error.ts';

/**
 * Ends a transfer that has come to a halt. A connection on which a byte comes now and then is one of
 * those: what counts is how much comes in a while.
 */
export class Watchdog {
  readonly #limits: TransferLimits;
  readonly #outer: AbortSignal;
  readonly #stalled = new AbortController();
  /** Ends with the transfer, or with the command. */
  readonly signal: AbortSignal;
  #timer: NodeJS.Timeout | null = null;
  #bytes = 0;

  constructor(limits: TransferLimits, outer: AbortSignal) {
    this.#limits = limits;
    this.#outer = outer;
    this.signal = AbortSignal.any([outer, this.#stalled.signal]);
  }

  start(): void {
    const { stall_ms, stall_bytes_min } = this.#limits;
    this.#timer = setInterval(() => {
      if (this.#bytes < stall_bytes_min) this.#stalled.abort();
      this.#bytes = 0;
    }, stall_ms);
  }

  heard(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Ends the transfer too, where it is not over: nobody reads on. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#stalled.abort();
  }

  /** What it means that reading a body ended with this error. */
  verdict(url: string, error: unknown): unknown {
    if (error instanceof SupplyError) return error;
    if (this.#outer.aborted) return this.#outer.reason;
    const { host } = new URL(url);
    if (this.#stalled.signal.aborted)
      return new TransferError('timed_out', `${host} sent next to nothing for ${this.#limits.stall_ms} ms`);
    return new TransferError(
      'network_failed',
      `the connection to ${host} broke: ${reasonOf(error)}`,
      null,
      error,
    );
  }
}
