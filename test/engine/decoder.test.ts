import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { shippedModel } from '../../src/lib/package-root.ts';
import { type Manifest, manifestFile } from '../../src/model/manifest.ts';
import type { Decoder } from '../../src/onnx/decoder.ts';
import { type BackendName, openRuntime } from '../../src/onnx/runtime.ts';
import { chooseThreads } from '../../src/onnx/threads.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';
import { argmax, largestDifference, ModelRunner } from '../support/onnx-runner.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

/** Float32 sums in another order differ by this much at most, at logits up to 15. */
const float32Tolerance = 1e-4;

const dir = await tinyModelDir({ build: { quantization: 'float32' } });
const reference = await ModelRunner.load(dir);
after(() => reference.close());

const ids = Array.from({ length: 40 }, (_, i) => (i * 53 + 7) % 256);

async function open(backend: BackendName, modelDir: string, contextLength = 64): Promise<Decoder> {
  const options = { threads: 1, contextLength };
  return (await openRuntime(backend).openDecoder(join(modelDir, 'model.onnx'), options)).decoder;
}

function inChunks(sequence: number[], size: number): number[][] {
  const chunks: number[][] = [];
  for (let start = 0; start < sequence.length; start += size)
    chunks.push(sequence.slice(start, start + size));
  return chunks;
}

/** The last token's logits of a sequence, computed from the beginning without a cache. */
async function expected(sequence: number[]): Promise<Float32Array> {
  return (await reference.run(sequence)).logits.at(-1)!;
}

for (const backend of ['native', 'node'] as const)
  describe(`the decoder of the ${backend} backend`, async () => {
    const decoder = await open(backend, dir);
    after(() => decoder.dispose());

    async function assertContinues(sequence: number[], chunks: number[][]): Promise<void> {
      let logits = new Float32Array();
      for (const chunk of chunks) logits = (await decoder.forward(chunk)).slice();
      assert.ok(largestDifference(logits, await expected(sequence)) < float32Tolerance);
      assert.equal(decoder.length, sequence.length);
    }

    test('a sequence in chunks, in single tokens and at once has the same logits', async () => {
      for (const size of [40, 16, 7, 1]) {
        decoder.reset();
        await assertContinues(ids, inChunks(ids, size));
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

    test('a context that is full to its last token is computed right', async () => {
      decoder.reset();
      const full = Array.from({ length: 64 }, (_, i) => (i * 31 + 5) % 256);
      await assertContinues(full, [full.slice(0, 50), full.slice(50, 63), full.slice(63)]);
    });

    test('a run that fails leaves the sequence as it was', async () => {
      decoder.reset();
      await decoder.forward(ids);
      await assert.rejects(decoder.forward([99_999]));
      await assertContinues([...ids, 9], [[9]]);
    });

    test('a run that is aborted before it begins rejects with the reason and changes nothing', async () => {
      decoder.reset();
      await decoder.forward(ids);
      const reason = new Error('asked to');
      await assert.rejects(decoder.forward([1, 2], AbortSignal.abort(reason)), (thrown) => thrown === reason);
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
      const opened = await open(backend, all);
      for (const chunks of [[ids], inChunks(ids, 9)]) {
        opened.reset();
        let logits = new Float32Array();
        for (const chunk of chunks) logits = (await opened.forward(chunk)).slice();
        assert.equal(logits.length, 260);
        assert.ok(largestDifference(logits, await expected(ids)) < float32Tolerance);
      }
      await opened.dispose();
    });
  });

/** Greedy tokens after a prompt, in chunks of a size. */
async function continued(
  decoder: Decoder,
  prompt: number[],
  chunk: number,
  count: number,
): Promise<number[]> {
  let logits = new Float32Array();
  for (const part of inChunks(prompt, chunk)) logits = (await decoder.forward(part)).slice();
  const tokens: number[] = [];
  while (tokens.length < count) {
    const id = argmax(logits);
    tokens.push(id);
    logits = (await decoder.forward([id])).slice();
  }
  return tokens;
}

/** Every kind of graph: of each family and each quantization that the builder knows, and the one that ships. */
const graphs: Record<string, () => Promise<string>> = {
  'int4 block 64': () => tinyModelDir({ build: { blockSize: 64 } }),
  'int8 block 32': () => tinyModelDir({ build: { quantization: 'int8' } }),
  float32: () => tinyModelDir({ build: { quantization: 'float32' } }),
  'all logits': () => tinyModelDir({ build: { logits: 'all' } }),
  'the model that ships': async () => shippedModel(),
};
for (const [name, checkpoint] of Object.entries(tinyVariants))
  graphs[name] = () => tinyModelDir({ checkpoint });

for (const [name, build] of Object.entries(graphs))
  test(`both backends give the same tokens, chunked or at once, fresh or rewound: ${name}`, async () => {
    const modelDir = await build();
    const { context_length } = JSON.parse(readFileSync(join(modelDir, manifestFile), 'utf8')) as Manifest;
    const room = Math.min(96, context_length);
    const native = await open('native', modelDir, room);
    const node = await open('node', modelDir, room);
    const prompt = Array.from({ length: Math.floor(room * 0.6) }, (_, i) => (i * 17 + 3) % 256);
    const answer = Math.floor(room * 0.3);
    const kept = Math.floor(room * 0.4);
    const expectedTokens = await continued(node, prompt, prompt.length, answer);
    for (const chunk of [prompt.length, 32, 13]) {
      native.reset();
      assert.deepEqual(await continued(native, prompt, chunk, answer), expectedTokens);
      // What the rewound part of the memory holds must not show.
      native.rewind(kept);
      assert.deepEqual(await continued(native, prompt.slice(kept), chunk, answer), expectedTokens);
    }
    await Promise.all([native.dispose(), node.dispose()]);
  });

test('a run that is aborted while it computes ends early, and the sequence is as it was', async () => {
  const checkpoint = {
    hiddenSize: 512,
    intermediateSize: 1376,
    heads: 8,
    headSize: 64,
    layers: 8,
    contextLength: 4096,
  };
  const slow = await open('native', await tinyModelDir({ checkpoint }), 4096);
  const prompt = Array.from({ length: 64 }, (_, i) => i);
  const before = (await slow.forward(prompt)).slice();
  const aborting = new AbortController();
  const run = slow.forward(
    Array.from({ length: 4000 }, (_, i) => i % 256),
    aborting.signal,
  );
  // The event loop turns while the run computes: else this would only come after it.
  setImmediate(() => aborting.abort());
  await assert.rejects(run, { name: 'AbortError' });
  assert.equal(slow.length, prompt.length);
  slow.rewind(32);
  assert.deepEqual((await slow.forward(prompt.slice(32))).slice(), before);
  await slow.dispose();
});

test('the threads that were asked for are used, and chosen ones are between 1 and 4', async () => {
  const { decoder, compute } = await openRuntime('auto').openDecoder(join(dir, 'model.onnx'), {
    threads: 2,
    contextLength: 64,
  });
  assert.equal(compute.threads, 2);
  assert.ok(chooseThreads() >= 1 && chooseThreads() <= 4);
  await decoder.dispose();
});
