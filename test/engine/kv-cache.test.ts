import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { heldOutSets } from '../../scripts/train/data/sets.ts';
import { type BuildOptions, buildModel } from '../../src/builder/build-model.ts';
import { readTexts } from '../../src/builder/calibrate.ts';
import { readArchitecture } from '../../src/builder/config.ts';
import { defaultTexts } from '../../src/builder/default-texts.ts';
import { planBuild } from '../../src/builder/options.ts';
import { evaluate, percent } from '../../src/cli/evaluate.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import { type Manifest, manifestFile } from '../../src/model/manifest.ts';
import { kvBytes, sizeOf } from '../../src/model/memory-need.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { type BackendName, openRuntime } from '../../src/onnx/runtime.ts';
import { compareModels } from '../../src/oracle/compare.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { largestDifference, relativeError } from '../support/onnx-runner.ts';
import { temporaryDir } from '../support/temporary.ts';
import { writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';
import { tinyModelDir } from '../support/tiny-model.ts';
import { writeTinyTokenizer } from '../support/tiny-tokenizer.ts';

const promptTokens = 40;
/** A prompt and 20 tokens of an answer: characters that a calibration meets, which sets no room apart for others. */
const ids = Array.from({ length: promptTokens + 20 }, (_, i) => 32 + ((i * 53 + 7) % 95));

async function withRow<T>(
  dir: string,
  use: (row: Sequence) => Promise<T>,
  backend: BackendName = 'native',
): Promise<T> {
  const options = { threads: 1, contextLength: 128, rows: 1 };
  const opened = await openRuntime(backend).openRows(join(dir, 'model.onnx'), options);
  try {
    return await use(opened.rows[0]!);
  } finally {
    await opened.dispose();
  }
}

/** Logits after the prompt, run in chunks, and after each token of the answer. */
async function logitsOf(row: Sequence, chunk = promptTokens): Promise<Float32Array> {
  row.reset();
  let logits = new Float32Array();
  for (let at = 0; at < promptTokens; at += chunk)
    logits = (await row.forward(ids.slice(at, at + chunk))).slice();
  const seen = [...logits];
  for (const id of ids.slice(promptTokens)) seen.push(...(await row.forward([id])));
  return Float32Array.from(seen);
}

/** What the first layer has cached of the prompt: keys, then values, [kv heads, tokens, head size] each. */
function firstLayer(
  dir: string,
  Elements: Float32ArrayConstructor | Int8ArrayConstructor,
  length: number,
): Promise<number[]> {
  return withRow(dir, async (row) => {
    await row.forward(ids.slice(0, promptTokens));
    return [...new Elements(row.snapshots!.take(promptTokens).buffer, 0, length)];
  });
}

describe('an int8 KV cache', () => {
  for (const [name, variant] of Object.entries(tinyVariants))
    test(`of "${name}" has keys and values to half a step, and what follows from them is near`, async (t) => {
      const dir = temporaryDir(t);
      const checkpointDir = join(dir, 'checkpoint');
      writeTinyCheckpoint(checkpointDir, variant);
      writeTinyTokenizer(checkpointDir);
      const [exact, rounded] = [join(dir, 'float32'), join(dir, 'int8')];
      await buildModel(checkpointDir, exact, { quantization: 'float32' });
      await buildModel(checkpointDir, rounded, { quantization: 'float32', kvCache: 'int8' });

      const architecture = await readArchitecture(checkpointDir);
      const options = planBuild(architecture, 'tiny', {});
      const { cacheScales } = await readTexts(
        { checkpointDir, architecture, options, workDir: join(dir, 'work') },
        defaultTexts,
        { moments: false, cacheScales: true },
        () => {},
      );
      assert.equal(cacheScales.length, architecture.layers.length);
      const { kvHeads, headSize } = architecture.attention;
      const size = kvHeads * promptTokens * headSize;
      const is = await firstLayer(rounded, Int8Array, 2 * size);
      const shouldBe = await firstLayer(exact, Float32Array, 2 * size);
      for (const [i, level] of is.entries()) {
        const head = Math.floor((i % size) / (promptTokens * headSize));
        const scale = cacheScales[0]![i < size ? 'key' : 'value'][head * headSize + (i % headSize)]!;
        const inSteps = Math.max(-128, Math.min(127, shouldBe[i]! / scale));
        assert.ok(Math.abs(level - inSteps) < 0.501, `${i}: ${level} and ${inSteps}`);
      }
      assert.ok(is.filter((level) => Math.abs(level) >= 16).length > is.length / 3);

      // Random weights are all attention to a few tokens: the error of a trained model is below.
      const error = relativeError(await withRow(rounded, logitsOf), await withRow(exact, logitsOf));
      assert.ok(error > 1e-5 && error < 0.2, `${error}`);
    });

  test('has the same logits in chunks as at once, and on the other backend', async () => {
    const dir = await tinyModelDir({ build: { quantization: 'float32', kvCache: 'int8' } });
    const native = await withRow(dir, async (row) => {
      const whole = await logitsOf(row);
      assert.deepEqual(await logitsOf(row, 8), whole);
      return whole;
    });
    const node = await withRow(dir, (row) => logitsOf(row), 'node');
    assert.ok(largestDifference(node, native) < 1e-4);
  });

  test('takes a quarter of the memory, and is counted as what it takes', async () => {
    const measured = async (build: BuildOptions) => {
      const dir = await tinyModelDir({ build });
      const { byteLength } = await withRow(dir, async (row) => {
        await row.forward(ids);
        return row.snapshots!.take(ids.length);
      });
      const manifest = JSON.parse(readFileSync(join(dir, manifestFile), 'utf8')) as Manifest;
      const size = sizeOf(manifest);
      assert.equal(kvBytes(size, ids.length), byteLength);
      return byteLength;
    };
    assert.equal(4 * (await measured({ kvCache: 'int8' })), await measured({}));
  });

  test('is named in the id, the manifest and info', async (t) => {
    const dir = temporaryDir(t);
    writeTinyCheckpoint(join(dir, 'tiny'));
    writeTinyTokenizer(join(dir, 'tiny'));
    const { id, quantization } = await buildModel(join(dir, 'tiny'), join(dir, 'out'), { kvCache: 'int8' });
    assert.equal(id, 'tiny-int4-kv8');
    assert.equal(quantization.kv_cache, 'int8');
    const engine = await openEngine(join(dir, 'out'), engineOptions);
    assert.equal(engine.info.model.quantization, 'int4 b32, int8 KV cache');
    await engine.close();
  });

  test('of the model that ships changes next to nothing of what it says', async (t) => {
    const checkpoint = join(shippedModel(), '..', 'checkpoint');
    const dir = temporaryDir(t);
    await buildModel(checkpoint, join(dir, 'float32'), {});
    await buildModel(checkpoint, join(dir, 'int8'), { kvCache: 'int8' });
    const { answers } = await compareModels(join(dir, 'int8'), join(dir, 'float32'), { threads: 1 });
    assert.ok(answers.positions > 200 && answers.greedy_agreement >= 0.98, `${answers.greedy_agreement}`);
    assert.ok(answers.kl_divergence > 0 && answers.kl_divergence < 0.001, `${answers.kl_divergence}`);
    const { values, phrasings } = heldOutSets(1);
    const examples = [...values, ...phrasings].filter((_, i) => i % 12 === 0);
    const [exact, rounded] = [
      await evaluate(join(dir, 'float32'), examples, { threads: 1, max_tokens: 128 }),
      await evaluate(join(dir, 'int8'), examples, { threads: 1, max_tokens: 128 }),
    ];
    assert.ok(examples.length >= 100 && percent(exact.all) > 90);
    assert.ok(Math.abs(percent(rounded.all) - percent(exact.all)) <= 2, `${percent(rounded.all)}`);
  });
});
