import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openDecoder } from '../../src/onnx/runtime.ts';
import { chooseThreads } from '../../src/onnx/threads.ts';
import { largestDifference, ModelRunner } from '../support/onnx-runner.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

/** Float32 sums in another order differ by this much at most, at logits up to 15. */
const float32Tolerance = 1e-4;

const dir = await tinyModelDir({ build: { quantization: 'float32' } });
const { decoder, threads } = await openDecoder(join(dir, 'model.onnx'), { threads: 1, contextLength: 64 });
const reference = await ModelRunner.load(dir);
after(async () => {
  await decoder.dispose();
  await reference.close();
});

const ids = Array.from({ length: 40 }, (_, i) => (i * 53 + 7) % 256);

/** The last token's logits of a sequence, computed from the beginning without a cache. */
async function expected(sequence: number[]): Promise<Float32Array> {
  return (await reference.run(sequence)).logits.at(-1)!;
}

async function assertContinues(sequence: number[], chunks: number[][]): Promise<void> {
  let logits = new Float32Array();
  for (const chunk of chunks) logits = (await decoder.forward(chunk)).slice();
  assert.ok(largestDifference(logits, await expected(sequence)) < float32Tolerance);
  assert.equal(decoder.length, sequence.length);
}

test('a sequence in chunks, in single tokens and at once has the same logits', async () => {
  for (const size of [40, 16, 7, 1]) {
    decoder.reset();
    const chunks: number[][] = [];
    for (let start = 0; start < ids.length; start += size) chunks.push(ids.slice(start, start + size));
    await assertContinues(ids, chunks);
  }
});

test('after a rewind the sequence continues as if what was forgotten had never been', async () => {
  decoder.reset();
  await decoder.forward(ids);
  decoder.rewind(10);
  const other = [200, 3, 5];
  await assertContinues([...ids.slice(0, 10), ...other], [other.slice(0, 2), other.slice(2)]);
  const more = Array.from({ length: 45 }, (_, i) => i + 1);
  await assertContinues([...ids.slice(0, 10), ...other, ...more], [more]);
});

test('more tokens than the context holds are refused and nothing is changed', async () => {
  decoder.reset();
  await decoder.forward(ids);
  await assert.rejects(decoder.forward(ids));
  await assert.rejects(decoder.forward([]));
  await assertContinues([...ids, 9], [[9]]);
});

test('a run that fails leaves the sequence as it was', async () => {
  decoder.reset();
  await decoder.forward(ids);
  await assert.rejects(decoder.forward([99_999]));
  await assertContinues([...ids, 9], [[9]]);
});

test('a rewind to more tokens than there are is refused', async () => {
  decoder.reset();
  await decoder.forward([1, 2]);
  assert.throws(() => decoder.rewind(3));
  assert.throws(() => decoder.rewind(-1));
});

test('a graph built with all logits gives those of the last token', async () => {
  const all = await tinyModelDir({ build: { quantization: 'float32', logits: 'all' } });
  const opened = await openDecoder(join(all, 'model.onnx'), { threads: 1, contextLength: 64 });
  const logits = await opened.decoder.forward(ids);
  assert.equal(logits.length, 260);
  assert.ok(largestDifference(logits, await expected(ids)) < float32Tolerance);
  await opened.decoder.dispose();
});

test('the threads that were asked for are used, and chosen ones are between 1 and 4', () => {
  assert.equal(threads, 1);
  assert.ok(chooseThreads() >= 1 && chooseThreads() <= 4);
});
