import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CacheRanges } from '../../src/builder/cache-ranges.ts';

const near = (scales: Float32Array, ranges: number[]) =>
  assert.deepEqual(
    [...scales].map((scale) => Math.round(scale * 127 * 1000) / 1000),
    ranges,
  );

test('elements of a key that rotate together have the range of their pair, all others their own, in each head', () => {
  // Two heads of five elements, of which 0 and 2, and 1 and 3, rotate together.
  const ranges = new CacheRanges(2, 5, 4);
  const [first, second] = [
    [3, 0, -4, 1, -7],
    [0, 2, 0, 0, 0.5],
  ];
  ranges.add(Float32Array.from([...first!, ...second!]), Float32Array.from([...first!, ...second!]));
  near(ranges.scales.key, [5, 1, 5, 1, 7, 0, 2, 0, 2, 0.5]);
  near(ranges.scales.value, [3, 0, 4, 1, 7, 0, 2, 0, 0, 0.5]);
});

test('what any token of any text reaches counts, and what is always zero has a scale', () => {
  const ranges = new CacheRanges(1, 2, 2);
  ranges.add(Float32Array.of(0, 1, 0, -3), Float32Array.of(0, 2, 0, 1));
  ranges.add(Float32Array.of(0, 2), Float32Array.of(0, -6));
  near(ranges.scales.key, [3, 3]);
  near(ranges.scales.value, [0, 6]);
  assert.ok(ranges.scales.value[0]! > 0);
});
