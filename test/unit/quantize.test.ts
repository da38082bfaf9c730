import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type BlockFormat,
  blocksPerRow,
  quantizeRows,
  rowBytes,
  type ScaleSearch,
} from '../../src/builder/quantize.ts';
import { randomNumbers, randomWeights } from '../support/random.ts';

function quantize(weights: Float32Array, columns: number, format: BlockFormat) {
  const rows = weights.length / columns;
  const data = new Uint8Array(rows * rowBytes(columns, format));
  const scales = new Float32Array(rows * blocksPerRow(columns, format));
  quantizeRows(weights, columns, format, data, scales);
  return { data, scales };
}

/** The stored level of each weight of a row's block, without the zero point. */
function levelsOf(data: Uint8Array, bits: number): number[] {
  if (bits === 8) return [...data].map((byte) => byte - 128);
  return [...data].flatMap((byte) => [(byte & 15) - 8, (byte >> 4) - 8]);
}

describe('quantized rows', () => {
  test('keep the even column in the low nibble, and 8 for zero', () => {
    const weights = new Float32Array(32);
    weights.set([-8, 1, 2, -3, 0, 7]);
    const { data, scales } = quantize(weights, 32, { bits: 4, blockSize: 32, scales: 'nearest' });
    assert.deepEqual([...scales], [1]);
    // (−8, 1) → 0 and 9; (2, −3) → 10 and 5; (0, 7) → 8 and 15.
    assert.equal(Buffer.from(data).toString('hex'), `905af8${'88'.repeat(13)}`);
  });

  test('have a negative scale where the extreme is positive, so that it takes the sixteenth level', () => {
    const weights = new Float32Array(32).fill(0.25).fill(8, 0, 1);
    const { data, scales } = quantize(weights, 32, { bits: 4, blockSize: 32, scales: 'nearest' });
    assert.deepEqual([...scales], [-1]);
    assert.equal(levelsOf(data, 4)[0], -8);
  });

  test('are searched for a scale that fits both signs where they are alike', () => {
    const weights = Float32Array.from({ length: 32 }, (_, i) => (i % 2 === 0 ? 7 : -7));
    const { data, scales } = quantize(weights, 32, { bits: 4, blockSize: 32, scales: 'search' });
    assert.deepEqual([...scales].map(Math.abs), [1]);
    assert.deepEqual(new Set(levelsOf(data, 4)), new Set([7, -7]));
  });

  test('are searched for a scale that cuts an extreme off where it stands alone', () => {
    const weights = Float32Array.from({ length: 32 }, (_, i) => (i === 0 ? -9.2 : (i % 15) - 7));
    const { data, scales } = quantize(weights, 32, { bits: 4, blockSize: 32, scales: 'search' });
    assert.equal(levelsOf(data, 4)[0], -8);
    assert.ok(Math.abs(scales[0]!) < 9.2 / 8, `${scales[0]}`);
  });

  for (const [bits, part] of [
    [4, 0.93],
    [8, 0.97],
  ] as const) {
    test(`in ${bits} bits lose less when they are searched, block by block and in sum`, () => {
      const columns = 192;
      const weights = randomWeights(randomNumbers(3), 60 * columns, 1);
      // Nearly a normal distribution, as real weights have.
      for (let i = 0; i < weights.length; i++) weights[i]! *= weights[(i * 7 + 1) % weights.length]!;
      const errorOf = (scales: ScaleSearch) => {
        const quantized = quantize(weights, columns, { bits, blockSize: 32, scales });
        const levels = levelsOf(quantized.data, bits);
        const blocks = new Float64Array(quantized.scales.length);
        for (const [i, weight] of weights.entries()) {
          const block = Math.floor(i / 32);
          blocks[block]! += (weight - levels[i]! * quantized.scales[block]!) ** 2;
        }
        return blocks;
      };
      const [nearest, search] = [errorOf('nearest'), errorOf('search')];
      // A scale is rounded to float32 after it was chosen.
      for (const [i, error] of search.entries()) assert.ok(error <= nearest[i]! * (1 + 1e-5), `block ${i}`);
      const sum = (errors: Float64Array) => errors.reduce((a, b) => a + b);
      assert.ok(sum(search) < part * sum(nearest), `${sum(search) / sum(nearest)}`);
    });
  }

  for (const bits of [4, 8] as const) {
    test(`in ${bits} bits fill the last block of each row with zeros where the columns do not divide`, () => {
      const weights = new Float32Array(2 * 40).fill(1);
      const { data, scales } = quantize(weights, 40, { bits, blockSize: 32, scales: 'nearest' });
      assert.equal(data.length, 2 * 8 * bits);
      assert.equal(scales.length, 4);
      const last = levelsOf(data.subarray(3 * 4 * bits), bits);
      assert.deepEqual(last.slice(8), new Array(24).fill(0));
      assert.ok(last.slice(0, 8).every((level) => level * scales[3]! === 1));
    });
  }

  test('of zeros read back as zeros, with a scale of zero', () => {
    const { data, scales } = quantize(new Float32Array(64), 64, {
      bits: 8,
      blockSize: 64,
      scales: 'nearest',
    });
    assert.deepEqual(levelsOf(data, 8), new Array(64).fill(0));
    assert.deepEqual([...scales], [0]);
  });

  for (const bits of [4, 8] as const) {
    test(`in ${bits} bits are at most half a level off, and one level at the far end`, () => {
      const columns = 172;
      const format: BlockFormat = { bits, blockSize: 32, scales: 'nearest' };
      const weights = randomWeights(randomNumbers(bits), 50 * columns, 1);
      const { data, scales } = quantize(weights, columns, format);
      const levels = levelsOf(data, bits);
      const width = blocksPerRow(columns, format) * format.blockSize;
      for (const [i, weight] of weights.entries()) {
        const at = Math.floor(i / columns) * width + (i % columns);
        const scale = scales[Math.floor(at / format.blockSize)]!;
        const error = Math.abs(weight - levels[at]! * scale);
        const bound = levels[at] === 2 ** (bits - 1) - 1 ? 1 : 0.5;
        assert.ok(
          error <= Math.abs(scale) * bound * (1 + 1e-6),
          `weight ${i} is ${error} off, scale ${scale}`,
        );
      }
    });
  }
});
