import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type GenerationModel, generate } from '../../src/engine/generate.ts';
import { Rows } from '../../src/engine/rows.ts';
import type { GenerateMessage } from '../../src/ipc/messages.ts';
import { monotonicMs } from '../../src/lib/clock.ts';
import { Tokenizer } from '../../src/model/tokenizer.ts';
import type { Decoder } from '../../src/onnx/decoder.ts';
import { byteLevelFiles } from '../support/tokenizers.ts';

const tokenizer = new Tokenizer(byteLevelFiles());
const vocabularySize = 258;
const newline = 10;

/** A decoder that wants to say `script` after any prompt; where it has a function, that is called instead. */
class ScriptedDecoder implements Decoder {
  readonly contextLength = 100;
  readonly vocabularySize = vocabularySize;
  length = 0;
  readonly #script: (number | (() => Float32Array))[];

  constructor(script: (number | (() => Float32Array))[]) {
    this.#script = script;
  }

  forward(ids: readonly number[]): Promise<Float32Array> {
    this.length += ids.length;
    const next = this.#script.shift() ?? newline;
    if (typeof next === 'function') return Promise.resolve().then(next);
    const logits = new Float32Array(vocabularySize);
    logits[next] = 9;
    return Promise.resolve(logits);
  }

  rewind(length: number): void {
    this.length = length;
  }

  reset(): void {
    this.length = 0;
  }

  async dispose(): Promise<void> {}
}

/** @param cancelAt number of tokens after which the generation is cancelled */
async function answer(
  script: (number | (() => Float32Array))[],
  fields: Partial<GenerateMessage> = {},
  cancelAt?: number,
  grammars: GenerationModel['grammars'] = {
    open: () => Promise.reject(new Error('no format was asked for')),
  },
) {
  const decoder = new ScriptedDecoder(script);
  const model: GenerationModel = {
    rows: new Rows([decoder]),
    tokenizer,
    template: undefined,
    stopIds: new Set([newline]),
    prefillChunkTokens: 50,
    maxTokensDefault: null,
    grammars,
    speculation: null,
  };
  const request = {
    messages: [{ role: 'user' as const, content: 'prompt' }],
    max_tokens: null,
    sampling: { temperature: 0, top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1, seed: 1 },
    stop: [],
    response_format: null,
    ...fields,
  };
  const texts: string[] = [];
  const abort = new AbortController();
  const onTokens = (text: string, count: number) => {
    texts.push(text);
    if (count === cancelAt) abort.abort();
  };
  const outcome = generate(model, request, { onTokens }, abort.signal);
  return { outcome, texts, decoder };
}

const bytes = (text: string) => [...Buffer.from(text)];

test('a stop token ends the answer without its text, also where the tokenizer gives it one', async () => {
  const { outcome, texts } = await answer([...bytes('ab'), newline, ...bytes('never')]);
  const { text, finish_reason, usage } = await outcome;
  assert.deepEqual(texts, ['a', 'b', '']);
  assert.equal(text, 'ab');
  assert.equal(finish_reason, 'stop');
  assert.deepEqual(usage, {
    prompt_tokens: 6,
    cached_tokens: 0,
    completion_tokens: 3,
    speculated_tokens: 0,
    accepted_tokens: 0,
    rerun_tokens: 0,
  });
});

test('a character of four tokens is sent with the last of them, and every token is heard of', async () => {
  const { outcome, texts } = await answer([...bytes('🦙!'), newline]);
  assert.equal((await outcome).text, '🦙!');
  assert.deepEqual(texts, ['', '', '', '🦙', '!', '']);
});

test('text that may become a stop string is sent when the answer ends before it does', async () => {
  const { outcome, texts } = await answer(bytes('xEN'), { stop: ['END'], max_tokens: 3 });
  assert.equal((await outcome).text, 'xEN');
  assert.deepEqual(texts, ['x', '', 'EN']);
});

test('text that may become a stop string is sent when the answer is cancelled before it does', async () => {
  const { outcome, texts } = await answer(bytes('xENx'), { stop: ['END'] }, 3);
  const { text, finish_reason, usage } = await outcome;
  assert.equal(finish_reason, 'cancelled');
  assert.equal(text, 'xEN');
  assert.deepEqual(texts, ['x', '', '', 'EN']);
  assert.equal(usage.completion_tokens, 3);
});

test('a stop string of two tokens ends the answer before it', async () => {
  const { outcome, texts } = await answer(bytes('abcd'), { stop: ['bc'] });
  const { text, finish_reason } = await outcome;
  assert.equal(text, 'a');
  assert.deepEqual(texts, ['a', '', '']);
  assert.equal(finish_reason, 'stop');
});

test('an answer that ends at once has no text and one token', async () => {
  const { outcome, texts } = await answer([newline]);
  const { text, finish_reason, usage, stamps } = await outcome;
  assert.equal(text, '');
  assert.deepEqual(texts, ['']);
  assert.equal(finish_reason, 'stop');
  assert.equal(usage.completion_tokens, 1);
  assert.equal(stamps.first_token_at, stamps.last_token_at);
});

test('a run that fails, and logits that are no numbers, are engine_failed and leave nothing in the cache', async () => {
  const failures = [
    () => {
      throw new Error('the graph broke');
    },
    () => new Float32Array(vocabularySize).fill(Number.NaN),
  ];
  for (const failure of failures) {
    for (const script of [[failure], [97, failure]]) {
      const { outcome, decoder } = await answer(script);
      await assert.rejects(outcome, { code: 'engine_failed' });
      assert.equal(decoder.length, 0);
    }
  }
});

test('[SLMD-RES-4] the preparation of a format belongs to the time of tokenizing', async () => {
  const prepared = { began_at: 0, ended_at: 0 };
  const open = async () => {
    prepared.began_at = monotonicMs();
    await setImmediate();
    prepared.ended_at = monotonicMs();
    return undefined;
  };
  const fields = { response_format: { type: 'json_object' as const } };
  const { outcome } = await answer([newline], fields, undefined, { open });
  const { started_at, tokenized_at } = (await outcome).stamps;
  assert.ok(started_at <= prepared.began_at && prepared.began_at < prepared.ended_at);
  assert.ok(prepared.ended_at <= tokenized_at);
});
