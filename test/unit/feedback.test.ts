import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { feedbackOf } from '../../src/builder/feedback.ts';
import { momentColumns, momentGroups } from '../../src/builder/input-moments.ts';
import { type BlockFormat, blocksPerRow, quantizeRows, rowBytes } from '../../src/builder/quantize.ts';
import { randomNumbers, randomWeights } from '../support/random.ts';

const format: BlockFormat = { bits: 4, blockSize: 32, scales: 'search' };

/** What a graph would give: sums of x·xᵀ over the inputs, by groups. */
function momentsOf(inputs: readonly Float32Array[], columns: number): Float32Array {
  const moments = new Float32Array(momentGroups(columns) * momentColumns ** 2);
  for (const input of inputs) {
    for (let a = 0; a < columns; a++) {
      const group = a - (a % momentColumns);
      for (let b = group; b < Math.min(columns, group + momentColumns); b++) {
        moments[a * momentColumns + b - group]! += input[a]! * input[b]!;
      }
    }
  }
  return moments;
}

/** Four bits, [rows, columns], as they are read back. */
function quantized(weights: Float32Array, columns: number, feedback: Float32Array | null, used = format) {
  const rows = weights.length / columns;
  const width = blocksPerRow(columns, used) * used.blockSize;
  const data = new Uint8Array(rows * rowBytes(columns, used));
  const scales = new Float32Array(rows * blocksPerRow(columns, used));
  quantizeRows(weights.slice(), columns, used, data, scales, feedback);
  const values = weights.map((_, i) => {
    const at = Math.floor(i / columns) * width + (i % columns);
    const level = ((data[at >> 1]! >> (at % 2 === 0 ? 0 : 4)) & 15) - 8;
    return level * scales[Math.floor(at / used.blockSize)]!;
  });
  return { data, scales, values };
}

/** Mean square of what the products with inputs are off by. */
function outputError(weights: Float32Array, values: Float32Array, inputs: readonly Float32Array[]): number {
  let sum = 0;
  for (const input of inputs) {
    for (let begin = 0; begin < weights.length; begin += input.length) {
      let error = 0;
      for (const [i, x] of input.entries()) error += (weights[begin + i]! - values[begin + i]!) * x;
      sum += error * error;
    }
  }
  return sum / inputs.length;
}

/** Inputs that are mixtures of a few causes, as those of a trained layer are. */
function mixedInputs(seed: number, count: number, columns: number): Float32Array[] {
  const random = randomNumbers(seed);
  const mixture = randomWeights(randomNumbers(99), columns * 8, 1);
  return Array.from({ length: count }, () => {
    const causes = randomWeights(random, 8, 1);
    const own = randomWeights(random, columns, 0.3);
    return own.map((value, i) => causes.reduce((sum, cause, k) => sum + cause * mixture[i * 8 + k]!, value));
  });
}

describe('feedback', () => {
  test('is what least squares would add to the later of two columns', () => {
    const moments = new Float32Array(momentColumns ** 2);
    moments.set([4, 3], 0);
    moments.set([3, 6], momentColumns);
    // A tenth of the mean square input, 5, is each column's own noise.
    const feedback = feedbackOf(moments, 2);
    assert.ok(Math.abs(feedback[1]! - -3 / 6.5) < 1e-6, `${feedback[1]}`);
    assert.ok(feedback.every((share, i) => i === 1 || share === 0));
  });

  test('changes nothing where no inputs go together, or none came', () => {
    const columns = 172;
    const weights = randomWeights(randomNumbers(1), 8 * columns, 1);
    const alone = new Float32Array(momentGroups(columns) * momentColumns ** 2);
    const never = alone.slice();
    for (let i = 0; i < columns; i++) alone[i * momentColumns + (i % momentColumns)] = 1 + (i % 7);
    const plain = quantized(weights, columns, null);
    assert.deepEqual(quantized(weights, columns, feedbackOf(alone, columns)), plain);
    assert.deepEqual(quantized(weights, columns, feedbackOf(never, columns)), plain);
  });

  test('stays in its row and its group of columns', () => {
    const columns = 172;
    const inputs = mixedInputs(5, 200, columns);
    const weights = randomWeights(randomNumbers(2), 3 * columns, 1);
    const feedback = feedbackOf(momentsOf(inputs, columns), columns);
    const before = quantized(weights, columns, feedback).values;
    weights[columns] = 0.123; // The first weight of the second row.
    const after = quantized(weights, columns, feedback).values;
    const changed = [...before.keys()].filter((i) => before[i] !== after[i]);
    assert.ok(changed.length > 1);
    assert.ok(
      changed.every((i) => i >= columns && i < columns + momentColumns),
      `${changed}`,
    );
  });

  for (const blockSize of [32, 64, 128]) {
    test(`halves what products are off by, on inputs that it has not seen, in blocks of ${blockSize}`, () => {
      const columns = 300;
      const weights = randomWeights(randomNumbers(3), 40 * columns, 1);
      const feedback = feedbackOf(momentsOf(mixedInputs(6, 400, columns), columns), columns);
      const unseen = mixedInputs(7, 100, columns);
      const used = { ...format, blockSize };
      const errorWith = (given: Float32Array | null) =>
        outputError(weights, quantized(weights, columns, given, used).values, unseen);
      assert.ok(errorWith(feedback) < errorWith(null) / 2, `${errorWith(feedback)} of ${errorWith(null)}`);
    });
  }
});
