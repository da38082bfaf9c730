import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type BuildOptions, buildModel } from '../../src/builder/build-model.ts';
import { Calibration } from '../../src/builder/calibrate.ts';
import { defaultTexts } from '../../src/builder/default-texts.ts';
import { argmax, ModelRunner } from '../support/onnx-runner.ts';
import { sharedDir, sharedJson, sharedTokenizers } from '../support/tokenizers.ts';

const name = 'models/stories260K';

/** A text that the reference has read in float32, and its mean negative log-likelihood per token. */
interface ReadText {
  ids: number[];
  mean_nll: number;
}

interface LossCase {
  build: BuildOptions;
  nats: number;
  how?: string;
}

interface StoryCase {
  prompt_ids_with_bos: number[];
  generated_ids: number[];
}

describe('stories260K', {
  skip: sharedTokenizers.includes(name) ? false : 'the checkout has no models beside it',
}, () => {
  let parent = '';
  before(() => {
    parent = mkdtempSync(join(tmpdir(), 'slmd-stories-loss-'));
  });
  after(() => rmSync(parent, { recursive: true, force: true }));

  async function withBuild(build: BuildOptions, use: (model: ModelRunner) => Promise<void>): Promise<void> {
    const dir = join(parent, 'model');
    await buildModel(join(sharedDir, name), dir, { ...build, logits: 'all', force: true });
    const model = await ModelRunner.load(dir);
    await use(model);
    await model.close();
  }

  test('in float32 continues every prompt with the ids of the reference', async () => {
    const { cases } = sharedJson(`${name}/golden_greedy.json`) as { cases: StoryCase[] };
    assert.ok(cases.length > 3);
    await withBuild({ quantization: 'float32' }, async (model) => {
      for (const { prompt_ids_with_bos, generated_ids } of cases) {
        let run = await model.run(prompt_ids_with_bos);
        for (const [i, id] of generated_ids.entries()) {
          assert.equal(argmax(run.logits.at(-1)!), id, `token ${i}`);
          run = await model.run([id], run.cache);
        }
      }
    });
  });

  const calibration = new Calibration(defaultTexts);
  for (const { build, nats, how = JSON.stringify(build) } of [
    { build: { quantization: 'float32' }, nats: 1e-4 },
    { build: { quantization: 'int8' }, nats: 0.01 },
    { build: { quantization: 'int8', blockSize: 128 }, nats: 0.01 },
    { build: { quantization: 'float32', kvCache: 'int8' }, nats: 0.01, how: 'float32 with an int8 KV cache' },
    // A model of 260,000 parameters has none to spare; larger ones lose less.
    { build: { quantization: 'int4' }, nats: 0.25 },
    { build: { quantization: 'int4', int8Layers: [0, 1, 2, 3, 4], headBits: 8 }, nats: 0.01 },
    // Without a calibration these three lose 0.16, 0.22 and 0.24.
    { build: { calibration }, nats: 0.14, how: 'calibrated int4' },
    { build: { calibration, blockSize: 64 }, nats: 0.19, how: 'calibrated int4 in blocks of 64' },
    { build: { calibration, blockSize: 128 }, nats: 0.2, how: 'calibrated int4 in blocks of 128' },
  ] as LossCase[]) {
    test(`built as ${how} loses at most ${nats} nats a token on what the reference read`, async (t) => {
      const texts = Object.values(sharedJson(`${name}/golden_fp32_nll.json`) as Record<string, ReadText>);
      assert.ok(texts.length > 1);
      await withBuild(build, async (model) => {
        let [lost, tokens] = [0, 0];
        for (const { ids, mean_nll } of texts) {
          const { logits } = await model.run(ids);
          const count = ids.length - 1;
          lost += lossOf(logits, ids) - mean_nll * count;
          tokens += count;
        }
        t.diagnostic(`${(lost / tokens).toFixed(5)} nats a token`);
        assert.ok(Math.abs(lost / tokens) < nats, `${lost / tokens}`);
      });
    });
  }
});

/** The sum of the negative log-likelihoods of every id but the first. */
function lossOf(logits: Float32Array[], ids: number[]): number {
  let loss = 0;
  for (const [position, id] of ids.slice(1).entries()) {
    const row = logits[position]!;
    const highest = Math.max(...row);
    loss += Math.log(row.reduce((sum, logit) => sum + Math.exp(logit - highest), 0)) + highest - row[id]!;
  }
  return loss;
}
