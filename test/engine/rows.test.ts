import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { openEngine } from '../../src/engine/engine.ts';
import type { Generation } from '../../src/engine/generate.ts';
import { greedy } from '../../src/ipc/question.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';
import { growingForms, halfGrowingForms, halfSharedForms, sharedForms } from '../support/foreign-forms.ts';
import type { ForeignForm } from '../support/foreign-graph.ts';
import { foreignModelDir, writeGenaiModel } from '../support/foreign-model.ts';
import { engineOptions, ForkedEngine, request } from '../support/forked-engine.ts';
import { argmax } from '../support/onnx-runner.ts';
import { rssBytesOf } from '../support/processes.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

/** Every kind of graph: of each family and each quantization that the builder knows, and the one that ships. */
const graphs: Record<string, () => Promise<string>> = {
  int4: () => tinyModelDir(),
  int8: () => tinyModelDir({ build: { quantization: 'int8' } }),
  float32: () => tinyModelDir({ build: { quantization: 'float32' } }),
  'an int8 KV cache': () => tinyModelDir({ build: { kvCache: 'int8' } }),
  'all logits': () => tinyModelDir({ build: { logits: 'all' } }),
  'the model that ships': async () => shippedModel(),
};
for (const [name, checkpoint] of Object.entries(tinyVariants)) {
  graphs[name] = () => tinyModelDir({ checkpoint });
  const asExported = { ...checkpoint, dtype: 'F32' } as const;
  graphs[`${name}, exported by others`] = () =>
    foreignModelDir({ checkpoint: asExported, form: { attention: 'grouped' } });
}
for (const [name, form] of Object.entries({ ...sharedForms, ...halfSharedForms }))
  graphs[`${name}, exported by others`] = () => foreignModelDir({ form });

async function open(modelDir: string, rows: number | 'auto') {
  const { graphPath, manifest, foreign } = await readModelDirectory(modelDir);
  const contextLength = Math.min(manifest.context_length, 128);
  const options = { threads: 1, contextLength, rows, ...(foreign && { foreign }) };
  return openRuntime('native').openRows(graphPath, options);
}

/** A prompt of each row, of a length of its own; none is longer than 20 tokens. */
const promptOf = (row: number) =>
  Array.from({ length: 20 - row * 6 }, (_, i) => (i * 17 + row * 41 + 3) % 250);

/** All logits of a greedy answer. */
async function answer(row: Sequence, prompt: readonly number[], tokens: number): Promise<Float32Array[]> {
  row.reset();
  let logits = await row.forward(prompt);
  const seen = [logits.slice()];
  while (seen.length < tokens) {
    logits = await row.forward([argmax(logits)]);
    seen.push(logits.slice());
  }
  row.reset();
  return seen;
}

describe('[SLMD-ROW-1] rows of different lengths have the logits, bit for bit, that each has alone', () => {
  for (const [name, build] of Object.entries(graphs))
    test(name, async () => {
      const opened = await open(await build(), 4);
      assert.equal(opened.rowsChosenBy, 'setting');
      assert.equal(opened.rows.length, 4);
      const tokens = 10;
      const alone: Float32Array[][] = [];
      for (const [i, row] of opened.rows.entries()) alone.push(await answer(row, promptOf(i), tokens));
      for (const together of [
        [0, 1, 2, 3],
        [0, 1],
        [1, 2, 3],
        [0, 3],
      ]) {
        const answers = await Promise.all(together.map((i) => answer(opened.rows[i]!, promptOf(i), tokens)));
        for (const [at, i] of together.entries())
          assert.deepEqual(answers[at], alone[i], `row ${i} of ${together}`);
      }
      await opened.dispose();
    });
});

test('[SLMD-ROW-1] a graph whose rows round otherwise together than alone has one row, whoever asks for more', async () => {
  // Int8 arithmetic is exact; float32 sums of the matrices at level 0 depend on how many rows there are.
  const opened = await open(await tinyModelDir({ build: { accuracyLevel: 0 } }), 4);
  const exact = opened.rowsChosenBy === 'setting';
  assert.equal(opened.rows.length, exact ? 4 : 1);
  assert.ok(exact || opened.rowsChosenBy === 'rounding');
  await opened.dispose();
});

const exact = { quantization: 'float32' } as const;

/** In which one row is all there is, by whose word. */
const single: Record<string, [form: Partial<ForeignForm>, chosenBy: string]> = {
  'takes every row to be as long as the longest': [
    { attention: 'grouped', positions: false, lengths: 'width' },
    'rounding',
  ],
  'has one row written into it': [
    {
      attention: 'grouped',
      positions: false,
      through: (graph, logits) =>
        graph.node(
          'Reshape',
          [logits, graph.constant('one.row', 'int64', [3], BigInt64Array.of(1n, -1n, 260n))],
          'one.row.logits',
        ),
    },
    'graph',
  ],
};
for (const [name, form] of Object.entries({ ...growingForms, ...halfGrowingForms }))
  single[`has ${name}, so that its cache grows`] = [form, 'graph'];

for (const [name, [form, chosenBy]] of Object.entries(single))
  test(`[SLMD-ROW-1] a graph that ${name}, has one row, whoever asks for more`, async () => {
    const dir = await foreignModelDir({ form, build: exact });
    for (const rows of ['auto', 4] as const) {
      const opened = await open(dir, rows);
      assert.deepEqual([opened.rows.length, opened.rowsChosenBy], [1, chosenBy]);
      assert.ok((await answer(opened.rows[0]!, promptOf(0), 4)).every(([first]) => Number.isFinite(first)));
      await opened.dispose();
    }
  });

const words = [
  'Open the blinds in the hall.',
  'Close',
  'Is the door of the shed locked at night?',
  'Dim it.',
];

/** Requests of all kinds: greedy, sampled, held to a format; each of a length of its own. */
const requests = words.map((content, i) => ({
  messages: [{ role: 'user' as const, content }],
  max_tokens: 30 + i * 7,
  sampling: { ...greedy, temperature: i % 2, seed: i },
  stop: [],
  response_format: i === 2 ? { type: 'json_object' as const } : null,
}));

/** Slmd's own layout, and one of others whose graph has several rows. */
const layouts: Record<string, (t: TestContext) => Promise<string>> = {
  slmd: () => tinyModelDir(),
  'onnxruntime-genai': async (t) => {
    const dir = join(temporaryDir(t), 'tiny');
    await writeGenaiModel(dir);
    return dir;
  },
};

async function engines(t: TestContext, build = layouts.slmd!) {
  const dir = await build(t);
  const [alone, together] = [
    await openEngine(dir, engineOptions),
    await openEngine(dir, { ...engineOptions, rows: 4 }),
  ];
  t.after(() => Promise.all([alone.close(), together.close()]));
  assert.deepEqual([alone.info.engine.rows, together.info.engine.rows], [1, 4]);
  const expected: Generation[] = [];
  for (const request of requests) expected.push(await alone.generate(request));
  return { together, expected };
}

function assertSame(generation: Generation | undefined, expected: Generation | undefined): void {
  assert.equal(generation?.text, expected?.text);
  assert.equal(generation?.finish_reason, expected?.finish_reason);
  assert.equal(generation?.usage.completion_tokens, expected?.usage.completion_tokens);
}

for (const [layout, build] of Object.entries(layouts)) {
  test(`[SLMD-ROW-1] four generations at once in the layout of ${layout} have the answers that each has alone, also where they begin in the middle of others`, async (t) => {
    const { together, expected } = await engines(t, build);
    const all = await Promise.all(requests.map((request) => together.generate(request)));
    for (const [i, generation] of all.entries()) assertSame(generation, expected[i]);

    const late: Promise<Generation>[] = [];
    const begin = (i: number): Promise<Generation> => {
      const generation = together.generate(requests[i]!, {
        // Each begins in the middle of the one before it.
        onTokens: (_text, count) => {
          if (count === 2 && i + 1 < requests.length) late.push(begin(i + 1));
        },
      });
      return generation;
    };
    late.push(begin(0));
    for (let i = 0; i < requests.length; i++) assertSame(await late[i], expected[i]);
  });

  test(`[SLMD-ROW-2] a cancel of one of four in the layout of ${layout} ends that one, and the others have the answers that they have alone`, async (t) => {
    const { together, expected } = await engines(t, build);
    const abort = new AbortController();
    const all = await Promise.all(
      requests.map((request, i) =>
        together.generate(
          request,
          { onTokens: (_text, count) => i === 1 && count === 6 && abort.abort() },
          i === 1 ? abort.signal : undefined,
        ),
      ),
    );
    assert.equal(all[1]?.finish_reason, 'cancelled');
    assert.equal(all[1]?.usage.completion_tokens, 6);
    for (const i of [0, 2, 3]) assertSame(all[i], expected[i]);
    assertSame(await together.generate(requests[1]!), expected[1]);
  });
}

test('[SLMD-RES-9] conversations that take turns find their own beginnings again, and answer as if none had', async (t) => {
  const { together } = await engines(t);
  const say = (who: string, more = '') => ({
    ...requests[0]!,
    messages: [{ role: 'user' as const, content: `${who.repeat(60)}${more}` }],
  });
  const first = await Promise.all(['a', 'b'].map((who) => together.generate(say(who))));
  const again = await Promise.all(['b', 'a'].map((who) => together.generate(say(who))));
  for (const { usage } of again) assert.ok(usage.cached_tokens >= 32, `${usage.cached_tokens}`);
  assert.deepEqual(
    again.map(({ text }) => text).toReversed(),
    first.map(({ text }) => text),
  );
});

test('an engine process runs as many generations as it has rows, by their keys, and grows no more than with one', async () => {
  const engine = await ForkedEngine.loaded(await tinyModelDir(), { rows: 4 });
  const expected = await engine.run(request('Hello '.repeat(20)));
  const five = Array.from({ length: 5 }, () => engine.start(request('Hello '.repeat(20))));
  const ends = await Promise.all(five.map((key) => engine.end(key)));
  assert.deepEqual(ends.map(({ type }) => type).sort(), ['done', 'done', 'done', 'done', 'failed']);
  for (const end of ends) if (end.type === 'done') assert.equal(end.text, expected.text);
  const residentMB = () => rssBytesOf(engine.child.pid!)! / 2 ** 20;
  const batch = async (seed: number) => {
    const keys = words.map((word, i) =>
      engine.start(request(word, { sampling: { ...greedy, temperature: 1, seed: seed + i } })),
    );
    await Promise.all(keys.map((key) => engine.end(key)));
    engine.messages.length = 0;
  };
  for (let i = 0; i < 15; i++) await batch(i);
  const early = residentMB();
  for (let i = 15; i < 60; i++) await batch(i);
  const growth = residentMB() - early;
  assert.ok(growth < 24, `it grew by ${growth.toFixed(1)} MB`);
  await engine.stop();
});
