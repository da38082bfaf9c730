import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { openEngine } from '../../src/engine/engine.ts';
import { prefillGrain, prefillRuns } from '../../src/engine/prefill.ts';
import { PrefixCache } from '../../src/engine/prefix-cache.ts';
import { greedy } from '../../src/ipc/question.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import { dependsOnRuns } from '../../src/model/graph-facts.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { readGraphFile } from '../../src/onnx/graph-file.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { writeExportedModel } from '../support/exported-graph.ts';
import { halfSharedForms } from '../support/foreign-forms.ts';
import { foreignModelDir } from '../support/foreign-model.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

/** A prompt of its own kind: those of one seed begin alike. */
const promptOf = (seed: number, tokens: number) =>
  Array.from({ length: tokens }, (_, i) => 1 + ((i * 37 + seed * 11) % 250));

/** The logits after a prompt, on top of what the cache has. */
async function run(decoder: Sequence, prefixes: PrefixCache, prompt: readonly number[], chunk: number) {
  const cached = await prefixes.enter(prompt);
  let logits = new Float32Array();
  for (const { start, end } of prefillRuns(cached, prompt.length, chunk))
    logits = Float32Array.from(await decoder.forward(prompt.slice(start, end)));
  prefixes.leave(prompt);
  return { cached, logits };
}

const exported = mkdtempSync(join(tmpdir(), 'slmd-exported-'));
after(() => rmSync(exported, { recursive: true }));
writeExportedModel(exported, ['_int8']);

const models = {
  'the shipped model': shippedModel(),
  'random weights': await tinyModelDir(),
  'an int8 KV cache': await tinyModelDir({ build: { kvCache: 'int8' } }),
  'a cache that grows': await foreignModelDir({}),
  'a cache that is rounded between runs': await foreignModelDir({ form: { cacheType: 'float16' } }),
  'a float16 cache': await foreignModelDir({
    form: halfSharedForms['grouped attention with a float16 cache']!,
  }),
  'scales that tokens share': exported,
};

for (const [name, dir] of Object.entries(models))
  describe(`the prefix cache over ${name}`, () => {
    test('gives the logits of a fresh cache, bit for bit, whatever was asked before', async () => {
      const { graphPath, foreign } = await readModelDirectory(dir);
      const options = { threads: 1, contextLength: 256, ...(foreign && { foreign }) };
      const { decoder } = await openRuntime('auto').openDecoder(graphPath, options);
      const wholeRuns = dependsOnRuns(readGraphFile(graphPath), foreign);
      const prefixes = new PrefixCache(decoder, null, wholeRuns);
      const chunkOf = (tokens: number) => (wholeRuns ? prefillGrain : tokens);
      let reused = 0;
      for (let tokens = 2; tokens < 140; tokens++) {
        const prompt = promptOf(1, tokens);
        prefixes.clear();
        const fresh = await run(decoder, prefixes, prompt, chunkOf(128));
        // Before it: a longer one that begins alike, with an answer, in other chunks; and a shorter one.
        for (const [before, chunk] of [
          [tokens + 25, 64],
          [Math.max(2, tokens - 30), 32],
        ] as const) {
          prefixes.clear();
          await run(decoder, prefixes, promptOf(1, before), chunkOf(chunk));
          await decoder.forward([7]);
          const { cached, logits } = await run(decoder, prefixes, prompt, chunkOf(chunk));
          reused += cached;
          assert.deepEqual(logits, fresh.logits, `${tokens} tokens after ${before}`);
        }
      }
      assert.ok(reused > 5000, `${reused} tokens were reused`);
      await decoder.dispose();
    });
  });

const system = { role: 'system' as const, content: 'You are the house. '.repeat(5) };
const ask = (content: string) => ({
  messages: [system, { role: 'user' as const, content }],
  max_tokens: 24,
  sampling: greedy,
  stop: [],
  response_format: null,
});

const questions = [
  'Close the door.',
  'Is it warm?',
  'Dim the lamp.',
  'Lock up',
  'abcabcabc',
  '12',
  'Oh!',
  'Why?',
];

for (const name of ['random weights', 'a cache that grows', 'scales that tokens share'] as const)
  test(`[SLMD-RES-9] an engine over ${name} says how many tokens of a prompt it had, and answers as one that had none`, async () => {
    const options = { ...engineOptions, prefill_chunk_tokens: 128 };
    const [engine, other] = [
      await openEngine(models[name], options),
      await openEngine(models[name], options),
    ];
    const first = await engine.generate(ask('Open the blinds.'));
    assert.equal(first.usage.cached_tokens, 0);
    for (const question of questions) {
      const cached = await engine.generate(ask(question));
      assert.ok(cached.usage.cached_tokens >= 64 && cached.usage.cached_tokens % 32 === 0);
      // What the row held is gone with a prompt that begins otherwise.
      await other.generate({ ...ask(''), messages: [{ role: 'user', content: question }] });
      const fresh = await other.generate(ask(question));
      assert.equal(fresh.usage.cached_tokens, 0);
      assert.equal(cached.text, fresh.text);
    }
    await Promise.all([engine.close(), other.close()]);
  });

test('what was prefilled before a cancel is not prefilled again', async () => {
  const engine = await openEngine(await tinyModelDir(), engineOptions);
  const abort = new AbortController();
  const onProgress = (prefilled: number) => {
    if (prefilled >= 64) abort.abort();
  };
  const cancelled = await engine.generate(ask('Open the blinds.'), { onProgress }, abort.signal);
  assert.equal(cancelled.finish_reason, 'cancelled');
  const again = await engine.generate(ask('Open the blinds.'));
  assert.equal(again.usage.cached_tokens, 64);
  await engine.close();
});
