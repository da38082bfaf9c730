import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type BuildOptions, buildModel } from '../../src/builder/build-model.ts';
import { argmax, ModelRunner } from '../support/onnx-runner.ts';

/** Trained weights, with an independent implementation's greedy answers and float32 losses. */
const stories = join(import.meta.dirname, '../../../shared/models/stories260K');
const skip = existsSync(stories) ? false : 'the trained model is not beside the repository';

interface Greedy {
  cases: { prompt_ids_with_bos: number[]; generated_ids: number[] }[];
}
type Losses = Record<string, { ids: number[]; mean_nll: number }>;

const readStories = (name: string) => JSON.parse(readFileSync(join(stories, name), 'utf8'));

describe('stories260K, a trained model', { skip }, () => {
  let parent = '';
  before(() => {
    parent = mkdtempSync(join(tmpdir(), 'slmd-stories-'));
  });
  after(() => rmSync(parent, { recursive: true, force: true }));

  async function build(options: BuildOptions): Promise<ModelRunner> {
    const dir = mkdtempSync(join(parent, 'build-'));
    await buildModel(stories, join(dir, 'model'), options);
    return ModelRunner.load(join(dir, 'model'));
  }

  test('built in float32 gives the golden greedy answers, token for token', async () => {
    const { cases } = readStories('golden_greedy.json') as Greedy;
    const model = await build({ quantization: 'float32' });
    for (const { prompt_ids_with_bos, generated_ids } of cases) {
      let ids = prompt_ids_with_bos;
      let cache = model.emptyCache();
      const answer: number[] = [];
      while (answer.length < generated_ids.length) {
        const step = await model.run(ids, cache);
        cache = step.cache;
        ids = [argmax(step.logits[0]!)];
        answer.push(...ids);
      }
      assert.deepEqual(answer, generated_ids);
    }
    await model.close();
  });

  // Measured: +0.0000, −0.0007 and −0.0008, +0.080 and +0.172 nats per token. A model of 260 thousand
  // parameters has little to spare: this says how much four bits take, not how well they would do.
  for (const [quantization, lossAdded] of [
    ['float32', 0.0001],
    ['int8', 0.005],
    ['int4', 0.25],
  ] as const) {
    test(`built in ${quantization} predicts its stories at most ${lossAdded} nats per token worse`, async (t) => {
      const model = await build({ quantization, logits: 'all' });
      for (const [name, golden] of Object.entries(readStories('golden_fp32_nll.json') as Losses)) {
        const { logits } = await model.run(golden.ids);
        const loss = meanLoss(logits, golden.ids);
        t.diagnostic(`${name}: ${loss.toFixed(4)}, golden ${golden.mean_nll.toFixed(4)}`);
        assert.ok(Math.abs(loss - golden.mean_nll) < lossAdded, `${name}: ${loss} for ${golden.mean_nll}`);
      }
      await model.close();
    });
  }
});

/** Mean negative log-likelihood of each token after those before it, in nats. */
function meanLoss(logits: Float32Array[], ids: number[]): number {
  let sum = 0;
  for (let i = 0; i + 1 < ids.length; i++) {
    const row = logits[i]!;
    const top = row[argmax(row)]!;
    const total = row.reduce((acc, value) => acc + Math.exp(value - top), 0);
    sum += Math.log(total) + top - row[ids[i + 1]!]!;
  }
  return sum / (ids.length - 1);
}
