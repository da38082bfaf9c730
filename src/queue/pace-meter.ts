import type { Generated } from '../contract/compose.ts';
import { type Pace, standardDeviations, type Work, workMs } from './estimate.ts';

/** One answer, as far as its pace goes. */
export interface PaceSample extends Work {
  /** From its turn to its end. */
  service_ms: number;
  prefill_ms: number;
  decode_ms: number;
  completion_tokens: number;
  /** False where it was cut short: it would have had more tokens. */
  complete: boolean;
}

/** How an answer got on, without what its request is. @param service_ms from its turn to its end */
export function paceOf(
  { stamps, usage, finish_reason }: Generated,
  service_ms: number,
): Omit<PaceSample, keyof Work> {
  return {
    service_ms,
    prefill_ms: stamps.first_token_at - stamps.tokenized_at,
    decode_ms: stamps.last_token_at - stamps.first_token_at,
    completion_tokens: usage.completion_tokens,
    complete: finish_reason !== 'cancelled',
  };
}

/** Each answer weighs this much of the one after it: some sixteen answers count. */
const keep = 15 / 16;
/** An estimate must have been right or wrong so often before anything is refused by it. */
const comparisonsMin = 2;
/** One answer that was held up for long says little of the next. */
const slipMax = 4;
/** A board cools down, and other work on it ends: an older measurement is a guess, and refuses nothing. */
const trustedMs = 60_000;

const nothing = {
  answers: 0,
  overhead_ms: 0,
  prefill_ms: 0,
  bytes: 0,
  decode_ms: 0,
  decoded_tokens: 0,
  completions: 0,
  completion_tokens: 0,
  comparisons: 0,
  squared_error: 0,
  slips: 0,
  slip: 0,
  squared_slip: 0,
};

const paceSums = (Object.keys(nothing) as (keyof typeof nothing)[]).filter((name) => !/slip/.test(name));

/**
 * Measures the engine's pace from its answers: means over the last of them. The percentiles of
 * telemetry do not serve here, because only means add up to the mean of a sum.
 */
export class PaceMeter {
  readonly #sums = { ...nothing };
  #bytesMax = 0;
  #compared = 0;
  #learnedAt = Number.NEGATIVE_INFINITY;

  /** Null before the first answer. */
  get pace(): Pace | null {
    const sums = this.#sums;
    if (sums.answers === 0 || sums.completions === 0) return null;
    return {
      overhead_ms: sums.overhead_ms / sums.answers,
      prefill_ms_per_byte: sums.prefill_ms / Math.max(1, sums.bytes),
      bytes_max: this.#bytesMax,
      decode_ms_per_token: sums.decode_ms / Math.max(1, sums.decoded_tokens),
      completion_tokens: sums.completion_tokens / sums.completions,
      slip: this.#slip,
      error_ms: sums.comparisons === 0 ? null : Math.sqrt(sums.squared_error / sums.comparisons),
    };
  }

  /** Whether the pace is known well enough, at `now`, to refuse a request by it. */
  trusted(now: number): boolean {
    return this.#compared >= comparisonsMin && now - this.#learnedAt <= trustedMs;
  }

  /** How long an answer took, from admission on, beside what was estimated; or how long it had when it was given up. */
  learnSlip(took_ms: number, estimated_ms: number): void {
    const slip = Math.min(slipMax, took_ms / Math.max(1, estimated_ms));
    for (const name of ['slips', 'slip', 'squared_slip'] as const) this.#sums[name] *= keep;
    this.#sums.slips++;
    this.#sums.slip += slip;
    this.#sums.squared_slip += slip ** 2;
  }

  get #slip(): number {
    const { slips, slip, squared_slip } = this.#sums;
    if (slips === 0) return 1;
    const mean = slip / slips;
    return Math.max(1, mean + standardDeviations * Math.sqrt(Math.max(0, squared_slip / slips - mean ** 2)));
  }

  learn(sample: PaceSample, now: number): void {
    const { bytes, service_ms, prefill_ms, decode_ms, completion_tokens, complete } = sample;
    // Cut short before its first token it says nothing of any rate.
    if (completion_tokens === 0) return;
    const before = this.pace;
    for (const name of paceSums) this.#sums[name] *= keep;
    this.#sums.answers++;
    this.#sums.overhead_ms += Math.max(0, service_ms - prefill_ms - decode_ms);
    this.#sums.prefill_ms += prefill_ms;
    this.#sums.bytes += bytes;
    this.#sums.decode_ms += decode_ms;
    this.#sums.decoded_tokens += completion_tokens - 1;
    this.#bytesMax = Math.max(bytes, this.#bytesMax * keep);
    this.#learnedAt = now;
    // What was cut short is at least so long; that it is longer than others is worth knowing.
    if (complete || completion_tokens > (before?.completion_tokens ?? 0)) {
      this.#sums.completions++;
      this.#sums.completion_tokens += completion_tokens;
    }
    if (before === null || !complete) return;
    this.#compared++;
    this.#sums.comparisons++;
    this.#sums.squared_error += (service_ms - workMs(sample, before)) ** 2;
  }
}
