import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';
import { argmax, type Cache, largestDifference, ModelRunner } from '../support/onnx-runner.ts';
import { type TinyModelOptions, tinyModelDir } from '../support/tiny-model.ts';

interface Golden {
  ids: number[];
  column_step: number;
  variants: Record<keyof typeof tinyVariants, { best: number[]; greedy: number[]; logits: number[][] }>;
}

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/tiny-models.json'), 'utf8'),
) as Golden;
const ids = golden.ids;

/** One for each way in which a layer can attend, and the experts. */
const manyPaths = [
  'tied',
  'small_heads',
  'qwen2_window',
  'qwen3',
  'gemma2',
  'gemma3',
  'phi3_half_rotated',
  'granite_moe',
] as const satisfies (keyof typeof tinyVariants)[];

/** Float32 sums in another order differ by this much at most, at logits up to 15. */
const float32Tolerance = 1e-4;

async function withModel<T>(options: TinyModelOptions, use: (model: ModelRunner) => Promise<T>): Promise<T> {
  const model = await ModelRunner.load(await tinyModelDir(options));
  try {
    return await use(model);
  } finally {
    await model.close();
  }
}

/** The tokens that follow a prompt when the most probable one is taken each time, one run for each. */
async function decode(
  model: ModelRunner,
  prompt: { logits: Float32Array[]; cache: Cache },
  count: number,
): Promise<number[]> {
  const tokens: number[] = [];
  let run = prompt;
  for (;;) {
    tokens.push(argmax(run.logits.at(-1)!));
    if (tokens.length === count) return tokens;
    run = await model.run([tokens.at(-1)!], run.cache);
  }
}

describe('a float32 build', () => {
  const build = { quantization: 'float32', logits: 'all' } as const;

  for (const [name, checkpoint] of Object.entries(tinyVariants)) {
    test(`of the checkpoint "${name}" gives the logits and the tokens that transformers gives`, async () => {
      const { best, greedy, logits } = golden.variants[name as keyof typeof tinyVariants];
      await withModel({ checkpoint, build }, async (model) => {
        const run = await model.run(ids);
        assert.deepEqual(run.logits.map(argmax), best);
        for (const [position, row] of run.logits.entries()) {
          const kept = row.filter((_, i) => i % golden.column_step === 0);
          const difference = largestDifference(kept, logits[position]!);
          assert.ok(difference < float32Tolerance, `position ${position} differs by ${difference}`);
        }
        assert.deepEqual(await decode(model, run, greedy.length), greedy);
      });
    });
  }

  for (const name of manyPaths) {
    const checkpoint = tinyVariants[name];

    test(`of "${name}" says the same whether a prompt is prefilled at once or in chunks`, async () => {
      await withModel({ checkpoint, build }, async (model) => {
        const whole = await model.run(ids);
        let cache = model.emptyCache();
        const rows: Float32Array[] = [];
        for (const chunk of [ids.slice(0, 7), ids.slice(7, 9), ids.slice(9)]) {
          const run = await model.run(chunk, cache);
          rows.push(...run.logits);
          cache = run.cache;
        }
        for (const [position, row] of rows.entries()) {
          assert.ok(
            largestDifference(row, whole.logits[position]!) < float32Tolerance,
            `position ${position}`,
          );
        }
      });
    });

    test(`of "${name}" says the same whether a token is prefilled or decoded`, async () => {
      await withModel({ checkpoint, build }, async (model) => {
        const whole = await model.run(ids);
        let { cache } = await model.run(ids.slice(0, 3));
        for (let position = 3; position < ids.length; position++) {
          const step = await model.run([ids[position]!], cache);
          cache = step.cache;
          const difference = largestDifference(step.logits[0]!, whole.logits[position]!);
          assert.ok(difference < float32Tolerance, `position ${position} differs by ${difference}`);
        }
      });
    });
  }

  for (const name of manyPaths) {
    test(`of "${name}" is continued by the product's own decoder as transformers continues it`, async () => {
      const dir = await tinyModelDir({ checkpoint: tinyVariants[name], build: { quantization: 'float32' } });
      const opened = await openRuntime('auto').openDecoder(join(dir, 'model.onnx'), {
        threads: 1,
        contextLength: 64,
      });
      const tokens: number[] = [];
      let logits = await opened.decoder.forward(ids);
      for (;;) {
        tokens.push(argmax(logits));
        if (tokens.length === golden.variants[name].greedy.length) break;
        logits = await opened.decoder.forward(tokens.slice(-1));
      }
      assert.deepEqual(tokens, golden.variants[name].greedy);
      await opened.decoder.dispose();
    });
  }

  test('that gives the last logits only gives the same as one that gives all', async () => {
    const all = await withModel({ build }, (model) => model.run(ids));
    const last = await withModel({ build: { quantization: 'float32' } }, (model) => model.run(ids));
    assert.equal(last.logits.length, 1);
    assert.ok(largestDifference(last.logits[0]!, all.logits.at(-1)!) < float32Tolerance);
  });
});

describe('a batch', () => {
  for (const name of manyPaths) {
    const checkpoint = tinyVariants[name];

    test(`of prompts of two lengths, then a token each, says what each says alone ("${name}")`, async () => {
      const build = { quantization: 'float32', logits: 'all' } as const;
      await withModel({ checkpoint, build }, async (model) => {
        const rows = [ids.slice(0, 9), ids.slice(9, 14)];
        const alone = await Promise.all(rows.map((row) => model.run(row)));
        // The shorter prompt is filled up on its right.
        const padded = rows.map((row) => [...row, ...ids].slice(0, 9));
        const together = await model.runBatch(padded, [9, 5]);
        const next = await model.runBatch([[42], [43]], [10, 6], together.values);
        for (const [i, row] of rows.entries()) {
          const own = alone[i]!;
          for (const [position, logits] of own.logits.entries()) {
            const difference = largestDifference(together.logits[i]![position]!, logits);
            assert.ok(difference < float32Tolerance, `row ${i}, position ${position}: ${difference}`);
          }
          const step = await model.run([42 + i], own.cache);
          const difference = largestDifference(next.logits[i]![0]!, step.logits[0]!);
          assert.ok(difference < float32Tolerance, `row ${i} of ${row.length}, next token: ${difference}`);
        }
      });
    });
  }
});
