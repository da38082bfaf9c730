import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Histogram } from '../../src/telemetry/histogram.ts';
import { RollingHistogram } from '../../src/telemetry/rolling-histogram.ts';
import { randomNumbers } from '../support/random.ts';

const nothing = { count: 0, p50: null, p95: null, p99: null, max: null };
/** What the histogram promises: its buckets are 2 % wide and answer with their middle. */
const errorMax = 0.0101;

function histogramOf(values: number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

/** By nearest rank, from all the values. */
function exact(values: number[], fraction: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.ceil(fraction * sorted.length) - 1] ?? Number.NaN;
}

/** Shapes that latencies have: even, with a long tail, in two humps, over ten orders of magnitude. */
const distributions: Record<string, (random: () => number) => number> = {
  even: (random) => 1 + 99 * random(),
  'long tail': (random) => -50 * Math.log(1 - random()) + 0.5,
  'two humps': (random) => (random() < 0.9 ? 10 + random() : 5000 + 100 * random()),
  'ten orders': (random) => 10 ** (10 * random() - 1),
};

for (const [name, draw] of Object.entries(distributions))
  test(`percentiles of a distribution (${name}) are within 1 % of the exact ones, the maximum is exact`, () => {
    for (const [seed, length] of [
      [1, 1],
      [2, 2],
      [3, 37],
      [4, 1000],
      [5, 20_000],
    ] as const) {
      const random = randomNumbers(seed);
      const values = Array.from({ length }, () => draw(random));
      const { count, max, ...found } = histogramOf(values).percentiles();
      assert.equal(count, length);
      assert.equal(max, Math.round(Math.max(...values) * 1000) / 1000);
      for (const [key, fraction] of [
        ['p50', 0.5],
        ['p95', 0.95],
        ['p99', 0.99],
      ] as const) {
        const wanted = exact(values, fraction);
        const error = Math.abs((found[key] ?? Number.NaN) - wanted);
        assert.ok(error <= wanted * errorMax + 0.0005, `${key} of ${length}: ${found[key]}, not ${wanted}`);
      }
    }
  });

test('a percentile of nothing is null', () => {
  assert.deepEqual(new Histogram().percentiles(), nothing);
});

test('zeros are zeros, and count', () => {
  assert.deepEqual(histogramOf([0, 0, 0]).percentiles(), { count: 3, p50: 0, p95: 0, p99: 0, max: 0 });
  assert.equal(histogramOf([0, 0, 100]).percentiles().p50, 0);
});

test('a huge value is kept to 1 %, and no percentile is above the maximum', () => {
  for (const value of [1e9, 1e15, Number.MAX_SAFE_INTEGER]) {
    const { p50, p99, max } = histogramOf([value]).percentiles();
    assert.equal(max, value);
    assert.ok((p50 ?? 0) <= value && (p99 ?? 0) >= value * (1 - errorMax));
  }
});

test('two histograms added are the histogram of all their values', () => {
  const random = randomNumbers(6);
  const values = Array.from({ length: 500 }, () => 1000 * random());
  const sum = histogramOf(values.slice(0, 100));
  sum.add(histogramOf(values.slice(100)));
  sum.add(new Histogram());
  assert.deepEqual(sum.percentiles(), histogramOf(values).percentiles());
});

test('a rolling window counts what is younger than its length, and no more', () => {
  const rolling = new RollingHistogram(30_000);
  rolling.record(1, 0);
  rolling.record(2, 10_000);
  assert.equal(rolling.percentiles(10_000).count, 2);
  assert.equal(rolling.percentiles(29_999).count, 2);
  const later = rolling.percentiles(30_000);
  assert.deepEqual([later.count, later.max], [1, 2]);
  assert.deepEqual(rolling.percentiles(40_000), nothing);
});

test('a window that was empty for long measures again', () => {
  const rolling = new RollingHistogram(30_000);
  rolling.record(1, 0);
  rolling.record(7, 1e9);
  const { count, max } = rolling.percentiles(1e9);
  assert.deepEqual([count, max], [1, 7]);
});

test('at any time a window holds between 29 and 30 thirtieths of what was recorded in its length', () => {
  const rolling = new RollingHistogram(3000);
  for (let now = 0; now < 20_000; now += 7) {
    rolling.record(1, now);
    if (now < 3000) continue;
    const { count } = rolling.percentiles(now);
    assert.ok(count >= 2900 / 7 - 1 && count <= 3000 / 7 + 1, `${count} at ${now}`);
  }
});
