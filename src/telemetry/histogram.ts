import type { Percentiles } from '../contract/telemetry.ts';

/** Each bucket is this much wider than the one below: percentiles are within 1 % of the true value. */
const growth = 1.02;
const logGrowth = Math.log(growth);
/** Values at or below this share the lowest bucket. */
const floor = 0.001;

/**
 * A sparse histogram with logarithmic buckets over non-negative numbers.
 *
 * Percentiles are by nearest rank, exact to 1 % of the value; the maximum is exact.
 */
export class Histogram {
  readonly #buckets = new Map<number, number>();
  #count = 0;
  #max = 0;

  record(value: number): void {
    const bucket = value <= floor ? 0 : 1 + Math.floor(Math.log(value / floor) / logGrowth);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
    this.#count++;
    this.#max = Math.max(this.#max, value);
  }

  add(other: Histogram): void {
    for (const [bucket, count] of other.#buckets)
      this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + count);
    this.#count += other.#count;
    this.#max = Math.max(this.#max, other.#max);
  }

  percentiles(): Percentiles {
    const sorted = [...this.#buckets].sort(([a], [b]) => a - b);
    const at = (fraction: number): number | null => {
      let rank = Math.ceil(fraction * this.#count);
      for (const [bucket, count] of sorted) {
        rank -= count;
        if (rank <= 0) return rounded(Math.min(middle(bucket), this.#max));
      }
      return null;
    };
    return {
      count: this.#count,
      p50: at(0.5),
      p95: at(0.95),
      p99: at(0.99),
      max: this.#count === 0 ? null : rounded(this.#max),
    };
  }
}

/** The geometric middle of a bucket. */
function middle(bucket: number): number {
  return bucket === 0 ? 0 : floor * growth ** (bucket - 0.5);
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
