import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Rounding, roundingOf } from '../../scripts/bench/rounding.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';
import { growingForms, halfGrowingForms, halfSharedForms, sharedForms } from '../support/foreign-forms.ts';
import { foreignModelDir } from '../support/foreign-model.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { type TinyModelOptions, tinyModelDir } from '../support/tiny-model.ts';

/** Random weights with many layers make much of the smallest difference. */
const deep: TinyModelOptions = { checkpoint: { layers: 8 } };

const graphs: Record<string, TinyModelOptions> = {
  int4: {},
  'blocks of 64': { build: { blockSize: 64 } },
  'blocks of 128': { build: { blockSize: 128 } },
  int8: { build: { quantization: 'int8' } },
  float32: { build: { quantization: 'float32' } },
  'float32 activations': { build: { accuracyLevel: 0 } },
  'an int8 KV cache': { build: { kvCache: 'int8' } },
  'many layers': deep,
};
const experts: TinyModelOptions[] = [];
for (const [name, checkpoint] of Object.entries(tinyVariants)) {
  if (/moe/.test(name)) experts.push({ checkpoint });
  else graphs[name] = { checkpoint };
}

/** Of graphs that others exported. */
const forms = { ...growingForms, ...sharedForms, ...halfGrowingForms, ...halfSharedForms };

/** Tokens; the tiny models' whole context. */
const contextLength = 256;

function assertWithin({ tokens, lost }: Rounding): void {
  assert.ok(tokens > 100);
  assert.ok(lost < 1, `a lead lost ${lost} of what is taken for doubtful`);
}

describe('[SLMD-RES-11] what comes first by runs of several tokens, and not by each alone, is in doubt', () => {
  for (const [name, options] of Object.entries(graphs))
    test(name, async () => {
      assertWithin(await roundingOf(await tinyModelDir(options), { sequences: 2, contextLength }));
    });

  for (const [name, form] of Object.entries(forms))
    test(`${name}, exported by others`, async () => {
      for (const build of [{}, { quantization: 'float32' }] as const)
        assertWithin(
          await roundingOf(await foreignModelDir({ form, build }), { sequences: 2, contextLength }),
        );
    });

  test('the model that ships', async () => {
    assertWithin(await roundingOf(shippedModel(), { sequences: 8, contextLength }));
  });
});

test('[SLMD-RES-11] without what is measured at load and a margin, choices would be turned round: the control', async () => {
  const options = { sequences: 4, contextLength, blind: true };
  const { turned, turnedLead, lost } = await roundingOf(await tinyModelDir(deep), options);
  assert.ok(turned > 0 && turnedLead >= 1 && lost >= 1);
});

test('[SLMD-RES-11] [SLMD-INF-1] a mixture of experts, whose router jumps, has no tokens guessed, and info says so', async () => {
  assert.ok(experts.length > 0);
  for (const options of experts) {
    const engine = await openEngine(await tinyModelDir(options), engineOptions);
    const { speculation, speculation_chosen_by, draft_costs } = engine.info.engine;
    assert.deepEqual([speculation, speculation_chosen_by, draft_costs], [false, 'experts', null]);
    await engine.close();
  }
});
