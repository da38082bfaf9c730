import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openEngine } from '../../src/engine/engine.ts';
import { prefillRuns } from '../../src/engine/prefill.ts';
import { PrefixCache } from '../../src/engine/prefix-cache.ts';
import { greedy } from '../../src/ipc/question.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
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

const models = {
  'the shipped model': shippedModel(),
  'random weights': await tinyModelDir(),
  'an int8 KV cache': await tinyModelDir({ build: { kvCache: 'int8' } }),
};

for (const [name, dir] of Object.entries(models))
  describe(`the prefix cache over ${name}`, () => {
    test('gives the logits of a fresh cache, bit for bit, whatever was asked before', async () => {
      const { decoder } = await openRuntime('auto').openDecoder(`${dir}/model.onnx`, {
        threads: 1,
        contextLength: 256,
      });
      const prefixes = new PrefixCache(decoder);
      let reused = 0;
      for (let tokens = 2; tokens < 140; tokens++) {
        const prompt = promptOf(1, tokens);
        prefixes.clear();
        const fresh = await run(decoder, prefixes, prompt, 128);
        // Before it: a longer one that begins alike, with an answer, in other chunks; and a shorter one.
        for (const [before, chunk] of [
          [tokens + 25, 64],
          [Math.max(2, tokens - 30), 32],
        ] as const) {
          prefixes.clear();
          await run(decoder, prefixes, promptOf(1, before), chunk);
          await decoder.forward([7]);
          const { cached, logits } = await run(decoder, prefixes, prompt, chunk);
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
  max_tokens: 12,
  sampling: greedy,
  stop: [],
  response_format: null,
});

test('[SLMD-RES-9] an engine says how many tokens of a prompt it had, and answers as one that had none', async () => {
  const dir = await tinyModelDir();
  const [engine, other] = [await openEngine(dir, engineOptions), await openEngine(dir, engineOptions)];
  const first = await engine.generate(ask('Open the blinds.'));
  const second = await engine.generate(ask('Close the door.'));
  const fresh = await other.generate(ask('Close the door.'));
  assert.equal(first.usage.cached_tokens, 0);
  assert.ok(second.usage.cached_tokens >= 64 && second.usage.cached_tokens % 32 === 0);
  assert.equal(fresh.usage.cached_tokens, 0);
  assert.equal(second.text, fresh.text);
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
