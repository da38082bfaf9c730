import { createHash } from 'node:crypto';
import type { ResponseFormat } from '../contract/prompt.ts';
import { monotonicMs } from '../lib/clock.ts';
import { SlmdError } from '../lib/errors.ts';

/** An appliance is asked for the same few shapes. */
const refusalsMax = 64;
/** A board that was busy or hot may have been slow for a while. */
const keptMs = 600_000;

/**
 * What was refused after work: who asks for it again hears so at once. A schema was written in confidence,
 * so only its hash is kept.
 */
export class Refusals {
  readonly #now: () => number;
  /** The oldest first. */
  readonly #known = new Map<string, { message: string; at: number }>();

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  /** @throws {SlmdError} `schema_unsupported` when it was refused lately */
  check(format: ResponseFormat): void {
    const key = keyOf(format);
    const known = this.#known.get(key);
    if (known === undefined) return;
    if (this.#now() - known.at < keptMs) throw new SlmdError('schema_unsupported', known.message);
    this.#known.delete(key);
  }

  add(format: ResponseFormat, message: string): void {
    const key = keyOf(format);
    this.#known.delete(key);
    this.#known.set(key, { message, at: this.#now() });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= refusalsMax) break;
      this.#known.delete(oldest);
    }
  }
}

function keyOf(format: ResponseFormat): string {
  return createHash('sha256').update(JSON.stringify(format)).digest('base64');
}
