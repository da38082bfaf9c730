import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseFromEngine } from '../../src/ipc/from-engine.ts';
import { greedy } from '../../src/ipc/question.ts';
import { ForkedEngine, request } from '../support/forked-engine.ts';
import { rssBytesOf } from '../support/processes.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const secret = 'the-prompt-nobody-may-log';
const dir = await tinyModelDir();

describe('an engine process with a model', () => {
  let engine: ForkedEngine;
  before(async () => {
    engine = await ForkedEngine.loaded(dir);
  });
  after(() => engine.stop());

  test('answers with progress, then tokens, then one done, all of one key and as the protocol says', async () => {
    const key = engine.start(request('x'.repeat(100)));
    const done = await engine.end(key);
    assert.equal(done.type, 'done');
    const types = engine.of(key).map(({ type }) => type);
    assert.match(types.join(' '), /^(progress )+(tokens )+done$/);
    for (const message of engine.messages) assert.deepEqual(parseFromEngine(message), message);
    assert.equal(engine.pieces(key).join(''), done.type === 'done' && done.text);
  });

  test('a cancel during decode ends it with the text that was streamed', async () => {
    const key = engine.start(request('Hello', { max_tokens: null }));
    await engine.first((message) => message.type === 'tokens' && message.key === key);
    engine.send({ type: 'cancel', key });
    const done = await engine.end(key);
    assert.ok(done.type === 'done');
    // The answer may have been over before the cancel arrived; what was streamed is the text either way.
    assert.equal(done.text, engine.pieces(key).join(''));
  });

  test('a cancel of another key, or of one that is over, changes nothing', async () => {
    const key = engine.start(request('Hello'));
    engine.send({ type: 'cancel', key: key - 1 });
    engine.send({ type: 'cancel', key: 999_999 });
    const done = await engine.end(key);
    assert.notEqual(done.type === 'done' && done.finish_reason, 'cancelled');
  });

  test('a second request while one runs is failed, and the first goes on', async () => {
    // Long enough that the second is there before the first is over, on a busy machine too.
    const first = engine.start(request('Hello '.repeat(30)));
    const second = engine.start(request('Hello'));
    const failed = await engine.end(second);
    assert.equal(failed.type === 'failed' && failed.code, 'engine_failed');
    assert.equal((await engine.end(first)).type, 'done');
  });

  test('a prompt that does not fit is failed with the numbers, and the next one is answered', async () => {
    const failed = await engine.end(engine.start(request(secret.repeat(20))));
    assert.ok(failed.type === 'failed');
    assert.equal(failed.code, 'prompt_too_long');
    assert.match(failed.message, /\b256\b/);
    assert.equal((await engine.run(request('Hello'))).type, 'done');
  });

  test('[SLMD-FMT-4] a schema that cannot be enforced after all is failed with its code, and the next is answered', async () => {
    const asked = (schema: unknown) => request('Hello', { response_format: { type: 'json_schema', schema } });
    const failed = await engine.end(engine.start(asked({ not: { const: secret } })));
    assert.equal(failed.type === 'failed' && failed.code, 'schema_unsupported');
    const done = await engine.run(asked({ enum: [true] }));
    assert.deepEqual([done.text, done.format_complete, done.finish_reason], ['true', true, 'stop']);
  });

  test('a request with wrong fields is failed as invalid, naming the field and not its value', async () => {
    const wrong = [
      { max_tokens: 0 },
      { max_tokens: 1.5 },
      { stop: [''] },
      { messages: [] },
      { messages: [{ role: secret, content: secret }] },
      { sampling: { ...greedy, top_p: 0 } },
      { sampling: { ...greedy, temperature: Number.NaN } },
      { sampling: secret },
    ];
    for (const fields of wrong) {
      const key = engine.start({ ...request('Hello'), ...(fields as object) });
      const failed = await engine.end(key);
      assert.ok(failed.type === 'failed');
      assert.equal(failed.code, 'invalid_request');
      assert.match(failed.message, new RegExp(Object.keys(fields)[0]!));
      assert.ok(!failed.message.includes(secret));
    }
  });

  test('messages that are no messages are dropped and the engine goes on', async () => {
    const garbage = [
      0,
      '',
      secret,
      null,
      true,
      [],
      {},
      [secret],
      new Map([[secret, secret]]),
      new Uint8Array(9),
      { type: secret },
      { type: 'generate' },
      { type: 'generate', key: secret },
      { type: 'cancel' },
      { type: 'load', model_dir: 7 },
      {
        type: 'load',
        model_dir: dir,
        options: {
          backend: 'auto',
          threads: 1,
          rows: 1,
          speculation: true,
          prefill_chunk_tokens: 8,
          context_length_max: 8,
          max_tokens_default: null,
          prefixes: null,
        },
      },
    ];
    for (const message of garbage) engine.send(message);
    const before = engine.messages.length;
    const done = await engine.run(request('Hello'));
    assert.equal(done.type, 'done');
    assert.ok(engine.messages.slice(before).every((message) => 'key' in message));
  });

  test('the same seed gives the same text and another seed another', async () => {
    const text = async (seed: number) =>
      (await engine.run(request('Hello', { sampling: { ...greedy, temperature: 1, seed } }))).text;
    assert.equal(await text(7), await text(7));
    assert.notEqual(await text(7), await text(8));
  });

  test('a stop string that is spread over messages is in none of them', async () => {
    const free = await engine.run(request('Hello'));
    const [stop] = /[^\uFFFD]{2}/.exec(free.text.slice(1)) ?? [];
    assert.ok(stop !== undefined, 'the model wrote no two characters in a row');
    const key = engine.start(request('Hello', { stop: [stop] }));
    const done = await engine.end(key);
    assert.ok(done.type === 'done');
    assert.equal(done.finish_reason, 'stop');
    assert.equal(engine.pieces(key).join(''), free.text.slice(0, free.text.indexOf(stop)));
  });

  test('nothing of prompts and answers is on its standard streams', async () => {
    await engine.run(request(secret));
    assert.ok(!engine.output.includes(secret));
    assert.doesNotMatch(engine.output, /Hello/);
    for (const line of engine.output.trimEnd().split('\n')) assert.match(line, /^slmd engine: /);
  });

  test('ends at once when the channel closes', async () => {
    assert.equal(await engine.stop(), 'SIGKILL');
  });
});

describe('an engine process whose prefill takes long', () => {
  let engine: ForkedEngine;
  /** Each letter makes a prompt that begins with its own, so that nothing of it is in the cache. */
  const longPrompt = (letter: string) => request(letter.repeat(1990), { max_tokens: 1 });
  before(async () => {
    const checkpoint = {
      hiddenSize: 512,
      intermediateSize: 1376,
      heads: 8,
      headSize: 64,
      layers: 8,
      contextLength: 2048,
    };
    const slow = await tinyModelDir({ checkpoint });
    engine = await ForkedEngine.loaded(slow, { context_length_max: 2048, prefill_chunk_tokens: 1950 });
  });

  const chunks = (key: number) => engine.of(key).filter(({ type }) => type === 'progress').length;

  test('ends the run that is under way when it is cancelled, and the next answer is whole', async () => {
    const whole = await engine.run(longPrompt('x'));
    const took = whole.stamps.first_token_at - whole.stamps.tokenized_at;
    const key = engine.start(longPrompt('y'));
    engine.send({ type: 'cancel', key });
    const done = await engine.end(key);
    assert.ok(done.type === 'done');
    assert.equal(done.finish_reason, 'cancelled');
    assert.equal(chunks(key), 0);
    const cancelled = done.stamps.last_token_at - done.stamps.tokenized_at;
    assert.ok(cancelled < took / 2, `${cancelled} ms of ${took} ms`);
    assert.equal((await engine.run(longPrompt('x'))).text, whole.text);
  });

  test('ends the run that is under way when the parent lets go of it', async () => {
    const whole = await engine.run(longPrompt('z'));
    const took = whole.stamps.first_token_at - whole.stamps.tokenized_at;
    engine.start(longPrompt('y'));
    // Its answer says that the message before it was received.
    await engine.end(engine.start(longPrompt('y')));
    const started = performance.now();
    assert.equal(await engine.stop(), 'SIGKILL');
    const ended = performance.now() - started;
    assert.ok(ended < took / 2, `${ended} ms of ${took} ms`);
  });
});

test('a request before a model is loaded is failed', async () => {
  const engine = new ForkedEngine();
  const failed = await engine.end(engine.start(request('Hello')));
  assert.equal(failed.type === 'failed' && failed.code, 'engine_failed');
  await engine.stop();
});

test('a model that cannot be loaded is reported with its code, once, and the process stays', async () => {
  const engine = new ForkedEngine();
  const failed = await engine.load(join(dir, 'nowhere'));
  assert.ok(failed.type === 'load_failed');
  assert.equal(failed.code, 'model_missing');
  assert.match(failed.message, /nowhere/);
  const refused = await engine.end(engine.start(request('Hello')));
  assert.equal(refused.type, 'failed');
  assert.equal(await engine.stop(), 'SIGKILL');
});

test('ends while it generates when the parent lets go of it', async () => {
  const engine = await ForkedEngine.loaded(dir);
  const key = engine.start(request('Hello', { max_tokens: null }));
  await engine.first((message) => message.type === 'tokens' && message.key === key);
  assert.equal(await engine.stop(), 'SIGKILL');
});

test('an interrupt of the terminal does not end it, and a SIGTERM does', async () => {
  const engine = await ForkedEngine.loaded(dir);
  engine.child.kill('SIGINT');
  assert.equal((await engine.run(request('Hello'))).type, 'done');
  engine.child.kill('SIGTERM');
  assert.deepEqual(await once(engine.child, 'exit'), [null, 'SIGTERM']);
});

test('started by hand it says so and ends', async () => {
  const entry = join(import.meta.dirname, '../../src/engine/main.ts');
  const child = spawn(process.execPath, [entry], { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    words += text;
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 64);
  assert.match(words, /slmd/);
});

test('nothing is written to the home directory, also where the environment does not forbid it', async () => {
  const home = mkdtempSync(join(tmpdir(), 'slmd-home-'));
  const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env;
  const engine = new ForkedEngine({ HOME: home }, env);
  assert.equal((await engine.load(dir)).type, 'ready');
  await engine.run(request('Hello'));
  await engine.stop();
  assert.ok(!existsSync(join(home, '.cache')));
  rmSync(home, { recursive: true });
});

test('two hundred generations do not make it grow', async () => {
  const engine = await ForkedEngine.loaded(dir);
  const residentMB = () => rssBytesOf(engine.child.pid!)! / 2 ** 20;
  const sampling = { ...greedy, temperature: 1 };
  for (let i = 0; i < 40; i++)
    await engine.run(request('x'.repeat(100), { sampling: { ...sampling, seed: i } }));
  const early = residentMB();
  for (let i = 40; i < 240; i++) {
    await engine.run(request('x'.repeat(100), { sampling: { ...sampling, seed: i } }));
    engine.messages.length = 0;
  }
  const growth = residentMB() - early;
  await engine.stop();
  assert.ok(growth < 24, `it grew by ${growth.toFixed(1)} MB`);
});
