import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { openEngine } from '../../src/engine/engine.ts';
import { type GenerateRequest, generate } from '../../src/engine/generate.ts';
import { prefillGrain } from '../../src/engine/prefill.ts';
import { Rows } from '../../src/engine/rows.ts';
import { Speculation } from '../../src/engine/speculation.ts';
import { measureRuns } from '../../src/engine/speculation-probe.ts';
import { Grammars } from '../../src/grammar/grammars.ts';
import { vocabularyOf } from '../../src/grammar/vocabulary.ts';
import type { EngineOptions } from '../../src/ipc/messages.ts';
import { greedy } from '../../src/ipc/question.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import type { GraphBuilder } from '../../src/onnx/graph.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { families, tinyVariants } from '../golden/tiny-variants.ts';
import { growingForms, halfGrowingForms, halfSharedForms, sharedForms } from '../support/foreign-forms.ts';
import { foreignModelDir } from '../support/foreign-model.ts';
import { engineOptions, request } from '../support/forked-engine.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

/** Every kind of graph that the builder writes, and the one that ships. */
const graphs: Record<string, () => Promise<string>> = {
  int4: () => tinyModelDir(),
  int8: () => tinyModelDir({ build: { quantization: 'int8' } }),
  float32: () => tinyModelDir({ build: { quantization: 'float32' } }),
  'float32 activations': () => tinyModelDir({ build: { accuracyLevel: 0 } }),
  'int8 cache': () => tinyModelDir({ build: { kvCache: 'int8' } }),
  'all logits': () => tinyModelDir({ build: { logits: 'all' } }),
  'the model that ships': async () => shippedModel(),
};
for (const [name, checkpoint] of Object.entries(tinyVariants)) {
  graphs[name] = () => tinyModelDir({ checkpoint });
}
for (const family of families)
  for (const attention of ['plain', 'grouped'] as const) {
    const checkpoint = { ...tinyVariants[family], dtype: 'F32' } as const;
    graphs[`${family}, exported by others with ${attention} attention`] = () =>
      foreignModelDir({ checkpoint, form: { attention, positions: false } });
  }
const forms = { ...growingForms, ...sharedForms, ...halfGrowingForms, ...halfSharedForms };
for (const [name, form] of Object.entries(forms))
  graphs[`${name}, exported by others`] = () => foreignModelDir({ form });

/** Drafts are free, so that every one is run, however seldom it is right. */
const always = [0.01, 0.02, 0.03];

/** One model, whose answers can be had with drafts and without. */
async function open(t: TestContext, dir: string, traits: { costs?: number[]; difference?: number } = {}) {
  const directory = await readModelDirectory(dir, null);
  const { foreign, manifest } = directory;
  const contextLength = Math.min(200, manifest.context_length);
  const options = { threads: 1, contextLength, ...(foreign && { foreign }) };
  const { decoder } = await openRuntime('native').openDecoder(directory.graphPath, options);
  const measured = await measureRuns(decoder);
  assert.ok(measured !== null);
  const grammars = new Grammars({
    vocabulary: () =>
      vocabularyOf(decoder.vocabularySize, (id) => directory.tokenizer.bytesOf(id), directory.stopIds),
  });
  t.after(async () => {
    await grammars.close();
    await decoder.dispose();
  });
  const rows = new Rows([decoder]);
  const speculation = new Speculation({ ...measured, costs: always, ...traits });
  const answer = (drafts: boolean, request: Partial<GenerateRequest>, cancelAt?: number) => {
    // One grain: a graph that rounds its cache between runs does so at the same tokens, whatever was cached.
    const model = { ...directory, rows, grammars, prefillChunkTokens: prefillGrain, maxTokensDefault: 48 };
    const abort = new AbortController();
    const pieces: string[] = [];
    const onTokens = (text: string, count: number) => {
      pieces.push(text);
      if (count === cancelAt) abort.abort();
    };
    const whole = { messages: [], max_tokens: null, sampling: greedy, stop: [], response_format: null };
    const generation = generate(
      { ...model, speculation: drafts ? speculation : null },
      { ...whole, ...request },
      { onTokens },
      abort.signal,
    );
    return generation.then(({ text, finish_reason, usage }) => ({ pieces, text, finish_reason, usage }));
  };
  /** Both ways, in both orders, on one KV cache; returns the usage with drafts. */
  const assertSame = async (content: string, request: Partial<GenerateRequest> = {}, cancelAt?: number) => {
    const asked = { ...request, messages: [{ role: 'user' as const, content }] };
    const plain = await answer(false, asked, cancelAt);
    const drafted = await answer(true, asked, cancelAt);
    const after = await answer(false, asked, cancelAt);
    for (const other of [drafted, after]) {
      assert.deepEqual(other.pieces, plain.pieces, content);
      assert.deepEqual(
        [other.text, other.finish_reason, other.usage.completion_tokens],
        [plain.text, plain.finish_reason, plain.usage.completion_tokens],
      );
    }
    assert.deepEqual([plain.usage.speculated_tokens, plain.usage.accepted_tokens], [0, 0]);
    return drafted.usage;
  };
  return { assertSame, answer, measured };
}

/** Repeats itself, and ends in the middle of what it has said before. */
const grounded = [
  'abcabcabcabcab',
  'greenhouse: temperature 38.5 C, humidity 41 %; greenhouse: temperature 38.5 C, hum',
  'the lamp is on, the lamp is off, the lamp is on, the lamp is',
];

/** What the shipped model answers with words of the question. */
const repeated = [
  'the bathroom CO2 is 1634 ppm, and the tank in the bathroom shows 59 %',
  'in the bedroom the brightness is 427lx. in the bedroom the tank is 7. in the bedroom the co2 is 2183',
  'it is 43.8 degrees in the kitchen.',
];

/** Names, quotes and the rest of most words follow from it. */
const lamp = {
  type: 'json_schema' as const,
  schema: {
    type: 'object',
    properties: {
      action: { enum: ['turn_on', 'turn_off', 'set_brightness'] },
      target: { type: 'string', maxLength: 12 },
      room: { enum: ['kitchen', 'bedroom', 'bathroom'] },
      value: { type: 'integer', minimum: 0, maximum: 100 },
    },
    required: ['action', 'target', 'room', 'value'],
  },
};

const commands = [
  'dim the bedroom lamp to 30 percent',
  'lights off in the bathroom',
  'kitchen fan on please',
];

describe('[SLMD-RES-11] an answer with drafts is, token for token, the answer without', () => {
  for (const [name, build] of Object.entries(graphs))
    test(name, async (t) => {
      const model = await open(t, await build());
      let speculated = 0;
      for (const content of grounded.map((text) => text.slice(-30)))
        speculated += (await model.assertSame(content)).speculated_tokens;
      assert.ok(speculated > 0);
      const { speculated_tokens } = await model.assertSame('lamp', { response_format: lamp });
      assert.ok(speculated_tokens > 0);
    });
});

test('[SLMD-RES-11] what a schema foretells is drafted, accepted and counted', async (t) => {
  const model = await open(t, shippedModel());
  for (const content of commands) {
    const usage = await model.assertSame(content, { response_format: lamp });
    const { speculated_tokens, accepted_tokens, completion_tokens } = usage;
    // How many depends on how long runs take, of which this machine may have any opinion.
    assert.ok(accepted_tokens > 0);
    assert.ok(accepted_tokens <= speculated_tokens);
    for (let tokens = 1; tokens < completion_tokens; tokens++) {
      await model.assertSame(content, { response_format: lamp, max_tokens: tokens });
      await model.assertSame(content, { response_format: lamp }, tokens);
    }
  }
});

test('[SLMD-RES-11] drafts from a prompt that the answer repeats are accepted, and counted', async (t) => {
  const model = await open(t, shippedModel());
  for (const content of repeated) {
    const { speculated_tokens, accepted_tokens, completion_tokens } = await model.assertSame(content);
    assert.ok(accepted_tokens >= 3, `${accepted_tokens}`);
    assert.ok(accepted_tokens <= speculated_tokens && accepted_tokens < completion_tokens);
  }
});

test('[SLMD-RES-11] stop texts, bounds, cancels and formats end an answer with drafts where they end one without', async (t) => {
  const model = await open(t, shippedModel());
  const [sensors = ''] = repeated;
  const plain = await model.answer(false, { messages: [{ role: 'user', content: sensors }] });
  for (let tokens = 1; tokens < 12; tokens++) {
    await model.assertSame(sensors, { max_tokens: tokens });
    await model.assertSame(sensors, {}, tokens);
  }
  for (const at of [3, 8, 15]) await model.assertSame(sensors, { stop: [plain.text.slice(at, at + 3)] });
  const schema = { type: 'object', properties: { a: { enum: ['lamp', 'lamp lamp lamp'] } }, required: ['a'] };
  for (const content of [...grounded, ...repeated]) {
    await model.assertSame(content, { response_format: { type: 'json_object' } });
    await model.assertSame(content, { response_format: { type: 'json_schema', schema } });
  }
});

/** Roundings differ by processor, and with them which prompt shows it. */
const promptsMax = 1000;

const build = { quantization: 'int8' } as const;
const rounding: Record<string, () => Promise<string>> = {
  'a graph of slmd': () => tinyModelDir({ build }),
  'a graph whose cache grows': () => foreignModelDir({ build }),
};

for (const [name, make] of Object.entries(rounding))
  test(`[SLMD-RES-11] what rounding could turn round in ${name} is run again: the control, which does not, says something else`, async (t) => {
    const dir = await make();
    const [model, control] = [await open(t, dir), await open(t, dir, { difference: 0 })];
    const contents = Array.from({ length: promptsMax }, (_, i) =>
      String.fromCharCode(97 + (i % 26), 98 + (i % 20), 99 + (i % 17)).repeat(3 + (i % 7)),
    );
    for (const content of contents.slice(0, 40)) await model.assertSame(content);
    for (const content of contents) {
      const ask = { messages: [{ role: 'user' as const, content }], max_tokens: 60 };
      const [plain, drafted] = [await control.answer(false, ask), await control.answer(true, ask)];
      if (plain.text === drafted.text) continue;
      await model.assertSame(content);
      return;
    }
    assert.fail('no prompt shows what the rule is for');
  });

test('answers that are sampled, or punish what was said, have no drafts', async (t) => {
  const model = await open(t, await tinyModelDir());
  const messages = [{ role: 'user' as const, content: grounded[0]! }];
  for (const sampling of [
    { ...greedy, temperature: 0.7 },
    { ...greedy, repetition_penalty: 1.1 },
  ])
    assert.equal((await model.answer(true, { messages, sampling })).usage.speculated_tokens, 0);
});

test('[SLMD-INF-1] an engine says whether it guesses, who said so, and what drafts cost it', async (t) => {
  const opened = async (more: Partial<EngineOptions>) => {
    const engine = await openEngine(await tinyModelDir(), { ...engineOptions, ...more });
    t.after(() => engine.close());
    return engine.info.engine;
  };
  const measured = await opened({});
  assert.equal(measured.speculation_chosen_by, 'probe');
  assert.equal(measured.draft_costs?.length, 3);
  assert.ok(measured.draft_costs.every((cost) => cost > 0));
  for (const [more, chosenBy] of [
    [{ speculation: false }, 'setting'],
    [{ backend: 'node' }, 'backend'],
    [{ context_length_max: 19 }, 'context'],
  ] as const) {
    const { speculation, speculation_chosen_by, draft_costs } = await opened(more);
    assert.deepEqual([speculation, speculation_chosen_by, draft_costs], [false, chosenBy, null]);
  }
});

test('[SLMD-INF-1] a graph of others that gives the last logits alone is not guessed at, whatever it says of their number', async (t) => {
  const last = (graph: GraphBuilder, logits: string) => {
    const at = (name: string, value: bigint) =>
      graph.constant(`last.${name}`, 'int64', [1], BigInt64Array.of(value));
    const bounds = [at('from', -1n), at('to', 2n ** 31n), at('axis', 1n)];
    return graph.node('Slice', [logits, ...bounds], 'last.logits');
  };
  for (const attention of ['plain', 'grouped'] as const) {
    const dir = await foreignModelDir({ form: { attention, positions: false, through: last } });
    const engine = await openEngine(dir, engineOptions);
    t.after(() => engine.close());
    const { speculation, speculation_chosen_by, draft_costs } = engine.info.engine;
    assert.deepEqual([speculation, speculation_chosen_by, draft_costs], [false, 'graph', null]);
    assert.ok((await engine.generate(request(grounded[0]!))).usage.completion_tokens > 0);
  }
});

test('[SLMD-RES-11] where the configuration says so, nothing is guessed, and the answer is the same', async (t) => {
  const guessing = await openEngine(shippedModel(), engineOptions);
  const plain = await openEngine(shippedModel(), { ...engineOptions, speculation: false });
  t.after(() => Promise.all([guessing.close(), plain.close()]));
  for (const content of repeated) {
    const { text, usage } = await plain.generate(request(content));
    assert.equal(text, (await guessing.generate(request(content))).text);
    const { speculated_tokens, accepted_tokens, rerun_tokens } = usage;
    assert.deepEqual([speculated_tokens, accepted_tokens, rerun_tokens], [0, 0, 0]);
  }
});
