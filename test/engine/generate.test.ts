import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type Engine, openEngine } from '../../src/engine/engine.ts';
import type { GenerateRequest } from '../../src/engine/generate.ts';
import { greedy } from '../../src/ipc/question.ts';
import { monotonicMs } from '../../src/lib/clock.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import { encodeConversation } from '../../src/model/prompt.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { argmax, ModelRunner } from '../support/onnx-runner.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const dir = await tinyModelDir({ build: { quantization: 'float32' } });

function ask(content: string, fields: Partial<GenerateRequest> = {}): GenerateRequest {
  const plain = { max_tokens: 40, sampling: greedy, stop: [], response_format: null };
  return { messages: [{ role: 'user', content }], ...plain, ...fields };
}

/** Greedy decoding with no cache, no chunks and no streaming: every token from the whole sequence. */
async function reference(content: string, maxTokens: number) {
  const model = await ModelRunner.load(dir);
  const { tokenizer, template, stopIds } = await readModelDirectory(dir);
  const prompt = encodeConversation([{ role: 'user', content }], tokenizer, template);
  const answer: number[] = [];
  let stopped = false;
  while (answer.length < maxTokens && !stopped) {
    const { logits } = await model.run([...prompt, ...answer]);
    answer.push(argmax(logits.at(-1)!));
    stopped = stopIds.has(answer.at(-1)!);
  }
  await model.close();
  return { prompt, answer, stopped, text: tokenizer.decode(answer) };
}

describe('an engine', () => {
  let engine: Engine;
  before(async () => {
    engine = await openEngine(dir, engineOptions);
  });
  after(() => engine.close());

  test('gives the tokens of a plain loop over the graph, whatever the prompt and its chunks', async () => {
    for (const chunk of [7, 32, 256]) {
      const other = await openEngine(dir, { ...engineOptions, prefill_chunk_tokens: chunk });
      for (const content of ['Hello', 'a longer prompt, of several chunks: '.repeat(3), '🦙']) {
        const expected = await reference(content, 40);
        const actual = await other.generate(ask(content));
        assert.equal(actual.text, expected.text);
        assert.equal(actual.usage.prompt_tokens, expected.prompt.length);
        assert.equal(actual.usage.completion_tokens, expected.answer.length);
        assert.equal(actual.finish_reason, expected.stopped ? 'stop' : 'length');
      }
      await other.close();
    }
  });

  test('ends at a stop token, which is counted and has no text', async () => {
    let found = false;
    for (let i = 0; i < 60 && !found; i++) {
      const sampling = { ...greedy, temperature: 1.5, seed: i };
      const { finish_reason, usage } = await engine.generate(ask('stop', { sampling, max_tokens: 200 }));
      if (finish_reason !== 'stop') continue;
      found = true;
      const events: number[] = [];
      const again = await engine.generate(
        ask('stop', { sampling, max_tokens: usage.completion_tokens - 1 }),
        {
          onTokens: (_text, count) => events.push(count),
        },
      );
      assert.equal(again.finish_reason, 'length');
      assert.deepEqual(
        events,
        Array.from({ length: usage.completion_tokens - 1 }, (_, i) => i + 1),
      );
    }
    assert.ok(found, 'no seed made the model end its answer');
  });

  test('reports each chunk of the prompt and each token, and the texts together are the answer', async () => {
    const progress: [number, number][] = [];
    const texts: string[] = [];
    const counts: number[] = [];
    const done = await engine.generate(ask('x'.repeat(70)), {
      onProgress: (...at) => progress.push(at),
      onTokens: (text, count) => {
        texts.push(text);
        counts.push(count);
      },
    });
    const total = done.usage.prompt_tokens;
    assert.deepEqual(
      progress,
      [32, 64, 96, total]
        .filter((at, i, all) => at <= total && all.indexOf(at) === i)
        .map((at) => [at, total]),
    );
    assert.equal(texts.join(''), done.text);
    assert.deepEqual(
      counts,
      Array.from({ length: done.usage.completion_tokens }, (_, i) => i + 1),
    );
  });

  test('stamps its phases in order, on the clock that both processes share', async () => {
    const before = monotonicMs();
    const { stamps } = await engine.generate(ask('x'.repeat(70)));
    const { started_at, tokenized_at, first_token_at, last_token_at } = stamps;
    const order = [before, started_at, tokenized_at, first_token_at, last_token_at, monotonicMs()];
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b),
    );
    assert.ok(last_token_at > first_token_at);
  });

  test('cancelled during prefill, runs no further chunk and has both token stamps at its end', async () => {
    const abort = new AbortController();
    const progress: number[] = [];
    const done = await engine.generate(
      ask('y'.repeat(150)),
      {
        onProgress: (prefilled) => {
          progress.push(prefilled);
          if (progress.length === 2) abort.abort();
        },
      },
      abort.signal,
    );
    assert.equal(done.finish_reason, 'cancelled');
    assert.deepEqual(progress, [32, 64]);
    assert.equal(done.text, '');
    assert.equal(done.usage.completion_tokens, 0);
    assert.equal(done.stamps.first_token_at, done.stamps.last_token_at);
    assert.ok(done.stamps.first_token_at >= done.stamps.tokenized_at);
  });

  test('cancelled during decode, chooses no further token and keeps the text so far', async () => {
    const abort = new AbortController();
    const texts: string[] = [];
    const done = await engine.generate(
      ask('Hello'),
      {
        onTokens: (text, count) => {
          texts.push(text);
          if (count === 5) abort.abort();
        },
      },
      abort.signal,
    );
    assert.equal(done.finish_reason, 'cancelled');
    assert.equal(done.usage.completion_tokens, 5);
    assert.equal(done.text, texts.join(''));
    assert.equal(done.text, (await engine.generate(ask('Hello', { max_tokens: 5 }))).text);
  });

  test('a cancel that arrives as an event is seen between any two runs', async () => {
    const abort = new AbortController();
    let counted = 0;
    const done = await engine.generate(
      ask('Hello', { max_tokens: null }),
      {
        onTokens: (_text, count) => {
          counted = count;
          // Another event of the same turn, as a message from the daemon would be.
          if (count === 3) setImmediate(() => abort.abort());
        },
      },
      abort.signal,
    );
    assert.equal(done.finish_reason, 'cancelled');
    assert.equal(counted, 3);
  });

  test('fills the context to its last token when no bound was asked for', async () => {
    for (const content of ['Hello', 'a', 'bb', 'ccc', 'dddd']) {
      const { usage, finish_reason } = await engine.generate(ask(content, { max_tokens: null }));
      if (finish_reason !== 'length') continue;
      assert.equal(usage.prompt_tokens + usage.completion_tokens, 256);
      return;
    }
    assert.fail('the model ended every answer by itself');
  });

  test('bounds an answer whose length nobody asked for, by the default or by what the context leaves', async () => {
    const bounded = await openEngine(dir, { ...engineOptions, max_tokens_default: 3 });
    const prompt = (await bounded.generate(ask('x', { max_tokens: 1 }))).usage.prompt_tokens;
    const length = async (content: string, max_tokens: number | null) =>
      (await bounded.generate(ask(content, { max_tokens }))).usage.completion_tokens;
    assert.equal(await length('x', null), 3);
    assert.equal(await length('x', 5), 5);
    assert.equal(await length('x'.repeat(256 - prompt - 1), null), 2);
    await bounded.close();
  });

  test('refuses a prompt that does not fit, with the numbers, before any run', async () => {
    const { usage } = await engine.generate(ask('x', { max_tokens: 1 }));
    const room = 256 - usage.prompt_tokens;
    const cases: [string, number | null, boolean][] = [
      ['x', room, true],
      ['x', room + 1, false],
      ['x'.repeat(room), null, true],
      ['x'.repeat(room + 1), null, false],
    ];
    for (const [content, max_tokens, fits] of cases) {
      const abort = new AbortController();
      abort.abort();
      const run = engine.generate(ask(content, { max_tokens }), {}, abort.signal);
      if (fits) assert.equal((await run).finish_reason, 'cancelled');
      else await assert.rejects(run, { code: 'prompt_too_long', message: /\b256\b/ });
    }
  });

  test('the same seed gives the same text and other seeds give others', async () => {
    const text = async (seed: number) =>
      (await engine.generate(ask('Hello', { sampling: { ...greedy, temperature: 1, top_p: 0.95, seed } })))
        .text;
    const texts = new Set<string>();
    for (let seed = 0; seed < 5; seed++) {
      const first = await text(seed);
      assert.equal(await text(seed), first);
      texts.add(first);
    }
    assert.equal(texts.size, 5);
  });

  test('text before a stop string is given and nothing of the stop string ever is', async () => {
    const free = (await engine.generate(ask('Hello'))).text;
    for (let start = 1; start < 12; start++) {
      for (const length of [1, 2, 5]) {
        const stop = free.slice(start, start + length);
        if (/[\uD800-\uDFFF\uFFFD]/.test(stop)) continue;
        const texts: string[] = [];
        const done = await engine.generate(ask('Hello', { stop: ['never', stop] }), {
          onTokens: (text) => texts.push(text),
        });
        assert.equal(done.finish_reason, 'stop');
        assert.equal(done.text, free.slice(0, free.indexOf(stop)));
        assert.equal(texts.join(''), done.text);
      }
    }
  });

  test('an answer after a cancelled, a refused and a failed one is the same as before them', async () => {
    const before = await engine.generate(ask('Hello'));
    const abort = new AbortController();
    await engine.generate(ask('other'), { onTokens: () => abort.abort() }, abort.signal);
    await assert.rejects(engine.generate(ask('x'.repeat(900))), { code: 'prompt_too_long' });
    const failing = { onTokens: () => assert.fail('a listener failed') };
    await assert.rejects(engine.generate(ask('other'), failing));
    assert.equal((await engine.generate(ask('Hello'))).text, before.text);
  });
});

test('an engine says at load how fast its model is, and has nothing in its cache after that', async () => {
  const engine = await openEngine(dir, engineOptions);
  const { prefill_tokens_per_second, decode_tokens_per_second } = engine.info.bench;
  assert.ok(decode_tokens_per_second > 0 && (prefill_tokens_per_second ?? 0) > decode_tokens_per_second);
  assert.equal((await engine.generate(ask('\0'.repeat(80)))).usage.cached_tokens, 0);
  await engine.close();
});

test('an engine with little context is measured within it', async () => {
  const engine = await openEngine(dir, { ...engineOptions, context_length_max: 16 });
  assert.equal(engine.info.bench.prefill_tokens_per_second, null);
  assert.ok(engine.info.bench.decode_tokens_per_second > 0);
  await engine.close();
});
