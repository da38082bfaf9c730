import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { largestDifference } from '../support/onnx-runner.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

/** Float32 sums in another order differ by this much at most, at logits up to 15. */
const float32Tolerance = 1e-4;
const dir = await tinyModelDir({ build: { quantization: 'float32' } });

for (const backend of ['native', 'node'] as const)
  test(`the ${backend} backend takes another way through attention for long runs, to the same logits`, async () => {
    const short = await answer(backend, 128);
    const long = await answer(backend, 2 ** 20);
    assert.equal(long.attention, 'tiles');
    const difference = largestDifference(short.logits, long.logits);
    assert.ok(difference < float32Tolerance);
    assert.equal(
      difference > 0,
      short.attention === 'scores',
      'sums in another order, where there are two ways',
    );
    assert.deepEqual(await answer(backend, 128), short);
  });

async function answer(backend: 'native' | 'node', runTokens: number) {
  const options = { threads: 1, contextLength: 64, runTokens };
  const { decoder, attention } = await openRuntime(backend).openDecoder(join(dir, 'model.onnx'), options);
  try {
    for (let id = 1; id < 40; id++) await decoder.forward([id]);
    return { attention, logits: (await decoder.forward([40])).slice() };
  } finally {
    await decoder.dispose();
  }
}
