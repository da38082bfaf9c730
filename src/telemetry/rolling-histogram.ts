import type { Percentiles } from '../contract/telemetry.ts';
import { Histogram } from './histogram.ts';

/** A window moves in steps of this fraction of its length. */
const slices = 30;

/** Percentiles over the last `window_ms`, which move on as time does. Times are `monotonicMs()`. */
export class RollingHistogram {
  readonly #sliceMs: number;
  #slices: { index: number; histogram: Histogram }[] = [];

  constructor(windowMs: number) {
    this.#sliceMs = windowMs / slices;
  }

  record(value: number, now: number): void {
    const index = Math.floor(now / this.#sliceMs);
    let slice = this.#slices.at(-1);
    if (slice?.index !== index) {
      slice = { index, histogram: new Histogram() };
      this.#slices.push(slice);
      this.#forget(now);
    }
    slice.histogram.record(value);
  }

  percentiles(now: number): Percentiles {
    this.#forget(now);
    const whole = new Histogram();
    for (const { histogram } of this.#slices) whole.add(histogram);
    return whole.percentiles();
  }

  #forget(now: number): void {
    const oldest = Math.floor(now / this.#sliceMs) - slices;
    this.#slices = this.#slices.filter(({ index }) => index > oldest);
  }
}
