import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { BuildOptions } from '../../src/builder/build-model.ts';
import { blocksPerRow, quantizeRows, rowBytes } from '../../src/builder/quantize.ts';
import { families, tinyVariants } from '../golden/tiny-variants.ts';
import { largestDifference, ModelRunner, relativeError } from '../support/onnx-runner.ts';
import type { TinyCheckpointOptions } from '../support/tiny-checkpoint.ts';
import { makeTinyModel } from '../support/tiny-model.ts';

const ids = [7, 101, 32, 200, 255, 0, 64, 64, 99, 18, 230, 31, 5, 77, 143, 12, 250, 1, 90, 171];

/** What weights become when they are quantized and read back as `src/model/README.md` says. */
function readBack(values: Float32Array, columns: number, bits: 4 | 8, blockSize: number): Float32Array {
  const format = { bits, blockSize, scales: 'search' } as const;
  const rows = values.length / columns;
  const width = blocksPerRow(columns, format) * blockSize;
  const data = new Uint8Array(rows * rowBytes(columns, format));
  const scales = new Float32Array((rows * width) / blockSize);
  quantizeRows(values, columns, format, data, scales);
  const levelAt = (i: number) =>
    bits === 8 ? data[i]! - 128 : ((data[i >> 1]! >> (i % 2 === 0 ? 0 : 4)) & 15) - 8;
  return values.map((_, i) => {
    const at = Math.floor(i / columns) * width + (i % columns);
    return levelAt(at) * scales[Math.floor(at / blockSize)]!;
  });
}

async function logitsOf(checkpoint: TinyCheckpointOptions, build: BuildOptions): Promise<Float32Array> {
  const parent = mkdtempSync(join(tmpdir(), 'slmd-quantized-'));
  try {
    await makeTinyModel(join(parent, 'model'), { checkpoint, build: { ...build, logits: 'all' } });
    const model = await ModelRunner.load(join(parent, 'model'));
    const { logits } = await model.run(ids);
    await model.close();
    return Float32Array.from(logits.flatMap((row) => [...row]));
  } finally {
    rmSync(parent, { recursive: true });
  }
}

describe('a quantized build', () => {
  const cases = [
    { bits: 4, blockSize: 32 },
    { bits: 4, blockSize: 64 },
    { bits: 4, blockSize: 128 },
    { bits: 8, blockSize: 32 },
    { bits: 8, blockSize: 128 },
    { bits: 4, blockSize: 32, headBits: 8 },
    { bits: 4, blockSize: 32, tied: false },
    { bits: 4, blockSize: 32, bias: true },
  ] as const;

  for (const { bits, blockSize, ...other } of cases) {
    const headBits = 'headBits' in other ? other.headBits : bits;
    const tied = !('tied' in other);
    const checkpoint = { tied, bias: 'bias' in other };
    const details = JSON.stringify(other).replaceAll(/[{}"]/g, '');
    const quantization = bits === 4 ? 'int4' : 'int8';
    const options = { quantization, blockSize, headBits } as const;
    const transform = (name: string, values: Float32Array, columns: number) => {
      const embeddingBits = tied ? headBits : 8;
      const width = name.includes('embed') ? embeddingBits : name.includes('head') ? headBits : bits;
      return readBack(values, columns, width, blockSize);
    };

    test(`in ${quantization} by ${blockSize} ${details} computes with the weights that quantization leaves`, async () => {
      const reference = await logitsOf({ ...checkpoint, transform }, { quantization: 'float32' });
      const exact = await logitsOf(checkpoint, { ...options, accuracyLevel: 0 });
      const difference = largestDifference(exact, reference);
      assert.ok(difference < 1e-4, `differs by ${difference}`);
    });

    test(`in ${quantization} by ${blockSize} ${details} stays near them when activations are int8`, async (t) => {
      const reference = await logitsOf({ ...checkpoint, transform }, { quantization: 'float32' });
      const rounded = await logitsOf(checkpoint, options);
      const error = relativeError(rounded, reference);
      t.diagnostic(`relative error ${error.toFixed(4)}`);
      // Measured on x86: 0.027 to 0.042. Another machine's kernels may round otherwise.
      assert.ok(error < 0.06, `relative error ${error}`);
    });
  }

  for (const name of families) {
    for (const bits of [4, 8] as const) {
      const checkpoint: TinyCheckpointOptions = tinyVariants[name];
      const quantization = bits === 4 ? 'int4' : 'int8';
      const transform = (tensor: string, values: Float32Array, columns: number) => {
        if (tensor.includes('router')) return values;
        const untied = tensor.includes('embed') && checkpoint.tied === false;
        // What weights are multiplied by goes into their scales: no level depends on it.
        return readBack(values, columns, untied ? 8 : bits, 32);
      };

      test(`of "${name}" in ${quantization} computes with the weights that quantization leaves`, async () => {
        const float32 = { ...checkpoint, dtype: 'F32' as const };
        const reference = await logitsOf({ ...float32, transform }, { quantization: 'float32' });
        const exact = await logitsOf(float32, { quantization, accuracyLevel: 0 });
        const difference = largestDifference(exact, reference);
        assert.ok(difference < 1e-4, `differs by ${difference}`);
      });
    }
  }

  test('in int8 is nearer to the checkpoint than one in int4', async (t) => {
    const original = await logitsOf({}, { quantization: 'float32' });
    const int8 = relativeError(await logitsOf({}, { quantization: 'int8' }), original);
    const int4 = relativeError(await logitsOf({}, { quantization: 'int4' }), original);
    t.diagnostic(`relative errors: int8 ${int8.toFixed(3)}, int4 ${int4.toFixed(3)}`);
    assert.ok(int8 < 0.06, `int8 ${int8}`);
    assert.ok(int4 > int8 * 3 && int4 < 0.6, `int4 ${int4}`);
  });
});
