import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { BuildOptions } from '../../src/builder/build-model.ts';
import type { Decoder } from '../../src/onnx/decoder.ts';
import { readGraphFile } from '../../src/onnx/graph-file.ts';
import { readGraphInterface } from '../../src/onnx/graph-interface.ts';
import { type BackendName, openRuntime } from '../../src/onnx/runtime.ts';
import { families, tinyVariants } from '../golden/tiny-variants.ts';
import { growingForms, halfGrowingForms, halfSharedForms, sharedForms } from '../support/foreign-forms.ts';
import type { ForeignForm } from '../support/foreign-graph.ts';
import { writeTransformersJsModel } from '../support/foreign-model.ts';
import { argmax, largestDifference } from '../support/onnx-runner.ts';
import type { TinyCheckpointOptions } from '../support/tiny-checkpoint.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const parent = mkdtempSync(join(tmpdir(), 'slmd-foreign-'));
after(() => rmSync(parent, { recursive: true }));

const prompt = Array.from({ length: 24 }, (_, i) => (i * 53 + 7) % 256);
const answerTokens = 12;
/** Float32 sums in another order differ by this much at most, at logits up to 15. */
const float32Tolerance = 1e-4;

let made = 0;

async function write(
  form: Partial<ForeignForm>,
  checkpoint: TinyCheckpointOptions,
  build: BuildOptions,
): Promise<string> {
  const dir = join(parent, String(made++));
  await writeTransformersJsModel(dir, { checkpoint, build, form });
  return join(dir, 'onnx/model.onnx');
}

async function open(backend: BackendName, path: string, contextLength = 64): Promise<Decoder> {
  const foreign = readGraphInterface(readGraphFile(path));
  const opened = await openRuntime(backend).openDecoder(path, { threads: 1, contextLength, foreign });
  return opened.decoder;
}

/** The product's own build of the same checkpoint. */
async function openOwn(
  checkpoint: TinyCheckpointOptions,
  build: BuildOptions,
  contextLength = 64,
): Promise<Decoder> {
  const dir = await tinyModelDir({ checkpoint, build });
  const options = { threads: 1, contextLength };
  return (await openRuntime('native').openDecoder(join(dir, 'model.onnx'), options)).decoder;
}

interface Continued {
  tokens: number[];
  logits: Float32Array[];
}

/** Greedy tokens after the prompt, which is given in chunks; or those that another decoder chose, and what this one says. */
async function continued(decoder: Decoder, chunk: number, chosen?: readonly number[]): Promise<Continued> {
  const tokens: number[] = [];
  const rows: Float32Array[] = [];
  for (let start = decoder.length; start < prompt.length; start += chunk) {
    const logits = await decoder.forward(prompt.slice(start, start + chunk));
    if (start + chunk >= prompt.length) rows.push(logits.slice());
  }
  for (;;) {
    tokens.push(argmax(rows.at(-1)!));
    if (tokens.length === answerTokens) return { tokens, logits: rows };
    const next = chosen?.[tokens.length - 1] ?? tokens.at(-1)!;
    rows.push((await decoder.forward([next])).slice());
  }
}

/** At once, in chunks, and after a rewind into the prompt, a foreign graph says what the product's own says. */
async function assertContinues(
  decoder: Decoder,
  expected: Continued,
  tolerance = float32Tolerance,
): Promise<void> {
  const exact = tolerance === float32Tolerance;
  for (const [chunk, kept] of [
    [24, 0],
    [7, 0],
    [5, 9],
  ] as const) {
    if (kept === 0) decoder.reset();
    else decoder.rewind(kept);
    const { tokens, logits } = await continued(decoder, chunk, exact ? undefined : expected.tokens);
    for (const [i, row] of logits.entries()) {
      const difference = largestDifference(row, expected.logits[i]!);
      assert.ok(difference < tolerance, `token ${i} differs by ${difference}`);
    }
    if (exact) assert.deepEqual(tokens, expected.tokens);
  }
}

/** Of a cache in half precision, at logits up to 15. */
const halfTolerance = 0.1;

const float32: BuildOptions = { quantization: 'float32' };

for (const backend of ['native', 'node'] as const)
  describe(`a graph that others exported, on the ${backend} backend`, () => {
    async function compare(
      form: Partial<ForeignForm>,
      checkpoint: TinyCheckpointOptions = {},
      build = float32,
      tolerance?: number,
    ): Promise<void> {
      const own = await openOwn(checkpoint, build);
      const decoder = await open(backend, await write(form, checkpoint, build));
      await assertContinues(decoder, await continued(own, 24), tolerance);
      await Promise.all([own.dispose(), decoder.dispose()]);
    }

    for (const [name, form] of Object.entries({ ...growingForms, ...sharedForms }))
      test(`with ${name} gives the tokens of the product's own build`, () => compare(form));

    for (const [name, form] of Object.entries({ ...halfGrowingForms, ...halfSharedForms }))
      test(`with ${name} is as near to the product's own build as half precision is`, () =>
        compare(form, {}, float32, halfTolerance));

    for (const [name, checkpoint] of Object.entries(tinyVariants))
      for (const attention of ['plain', 'grouped'] as const)
        test(`of the checkpoint "${name}" with ${attention} attention gives the tokens of the product's own build`, () =>
          compare({ attention, positions: attention === 'plain' }, { ...checkpoint, dtype: 'F32' }));

    for (const name of backend === 'native' ? families : families.slice(0, 1))
      for (const quantization of ['int4', 'int8'] as const)
        for (const attention of ['plain', 'grouped'] as const)
          test(`of the checkpoint "${name}" in ${quantization} with ${attention} attention gives the tokens of the product's own build`, () =>
            // Rounding activations to int8 makes large differences of small ones; without it both are exact.
            compare(
              { attention, positions: false },
              { ...tinyVariants[name], dtype: 'F32' },
              { quantization, accuracyLevel: 0 },
            ));
    for (const attention of ['plain', 'grouped'] as const)
      describe(`with ${attention} attention`, async () => {
        const form: Partial<ForeignForm> = { attention, positions: false };
        const own = await openOwn({}, float32);
        const decoder = await open(backend, await write(form, {}, float32));
        after(() => Promise.all([own.dispose(), decoder.dispose()]));

        /** That the next token says what it says in a sequence that was never disturbed. */
        async function assertUndisturbed(): Promise<void> {
          assert.equal(decoder.length, prompt.length);
          own.reset();
          const expected = await own.forward([...prompt, 9]);
          const difference = largestDifference(await decoder.forward([9]), expected);
          assert.ok(difference < float32Tolerance, `differs by ${difference}`);
        }

        test('leaves the sequence as it was when a run fails, is refused or is aborted', async () => {
          decoder.reset();
          await decoder.forward(prompt);
          await assert.rejects(decoder.forward([99_999]));
          await assert.rejects(decoder.forward([]));
          await assert.rejects(decoder.forward(new Array<number>(41).fill(1)));
          const reason = new Error('asked to');
          const aborted = decoder.forward([1, 2], AbortSignal.abort(reason));
          await assert.rejects(aborted, (thrown) => thrown === reason);
          await assertUndisturbed();
        });

        test('forgets what a run that fails after a rewind would have overwritten', async () => {
          decoder.reset();
          await decoder.forward([...prompt, 200, 3, 5]);
          decoder.rewind(prompt.length);
          await assert.rejects(decoder.forward([99_999]));
          await assertUndisturbed();
          assert.throws(() => decoder.rewind(prompt.length + 2));
        });

        test('goes on when its cache has moved, and after a rewind to where it was before', async () => {
          const checkpoint = { contextLength: 1000 };
          const own = await openOwn(checkpoint, float32, 1000);
          const decoder = await open(backend, await write(form, checkpoint, float32), 1000);
          const ids = Array.from({ length: 600 }, (_, i) => (i * 31 + 5) % 256);
          for (const kept of [0, 200]) {
            decoder.rewind(kept);
            for (let at = kept; at < 600; at += 50) await decoder.forward(ids.slice(at, at + 50));
            own.reset();
            const expected = await own.forward([...ids, 9]);
            assert.ok(largestDifference(await decoder.forward([9]), expected) < float32Tolerance);
          }
          await Promise.all([own.dispose(), decoder.dispose()]);
        });

        test('computes a context that is full to its last token', async () => {
          const full = Array.from({ length: 64 }, (_, i) => (i * 31 + 5) % 256);
          decoder.reset();
          for (const part of [full.slice(0, 50), full.slice(50, 63)]) await decoder.forward(part);
          own.reset();
          const expected = await own.forward(full);
          assert.ok(largestDifference(await decoder.forward(full.slice(63)), expected) < float32Tolerance);
          await assert.rejects(decoder.forward([1]));
        });
      });
  });
