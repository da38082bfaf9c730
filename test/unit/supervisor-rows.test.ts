import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EngineLost } from '../../src/supervisor/engine-lost.ts';
import { supervised } from '../support/supervised.ts';

test('as many generations run as the engine has rows, and the next waits for a row', async (t) => {
  const { supervisor, ask, tokens } = supervised(t, { rows: 2 });
  supervisor.start();
  const end = new AbortController();
  const [first, second] = [ask('slow 100000', end.signal), ask('slow 100000', end.signal)];
  await tokens.atLeast(2, (text) => text.startsWith('t0'), 'both have begun');
  const gone = new AbortController();
  const [third, fourth] = [ask('echo third'), ask('echo fourth', gone.signal)];
  gone.abort();
  await assert.rejects(fourth, { code: 'cancelled' });
  assert.ok(!tokens.all.includes('third'));
  end.abort();
  assert.equal((await third).text, 'third');
  for (const cancelled of [first, second]) assert.equal((await cancelled).finish_reason, 'cancelled');
});

test('a signal ends one generation of two, and the other goes on', async (t) => {
  const { supervisor, ask, tokens } = supervised(t, { rows: 2 });
  supervisor.start();
  const end = new AbortController();
  const [cancelled, whole] = [ask('slow 100000', end.signal), ask('slow 20')];
  await tokens.atLeast(2, (text) => text.startsWith('t0'), 'both have begun');
  end.abort();
  assert.equal((await cancelled).finish_reason, 'cancelled');
  assert.equal((await whole).usage.completion_tokens, 20);
});

test('a crash fails all generations that are under way, says so, and quotes its last words to none', async (t) => {
  const { supervisor, ask, tokens } = supervised(t, { rows: 2 });
  supervisor.start();
  const neighbour = ask('slow 100000');
  await tokens.find((text) => text.startsWith('t0'), 'it has begun');
  for (const lost of [ask('blurt a secret'), neighbour])
    await assert.rejects(lost, (error: EngineLost) => {
      assert.deepEqual([error.code, error.shared], ['engine_crashed', true]);
      return !error.message.includes('secret');
    });
  await assert.rejects(ask('blurt a secret'), (error: EngineLost) => {
    return !error.shared && error.message.includes('secret');
  });
});

test('what an engine said while others ran is not quoted to the one that is left', async (t) => {
  const { supervisor, ask, tokens } = supervised(t, { rows: 2 });
  supervisor.start();
  const crash = ask('crash at two');
  await tokens.find((text) => text.startsWith('lost'), 'it has begun');
  assert.equal((await ask('mutter a secret')).text, 'muttered');
  await assert.rejects(crash, (error: EngineLost) => !error.shared && !error.message.includes('secret'));
});

test('a generation without a sign of life is noticed while another shows them', async (t) => {
  const { supervisor, ask } = supervised(t, { rows: 2, stall_ms: 1000 });
  supervisor.start();
  const lively = assert.rejects(ask('slow 100000'), { code: 'engine_stalled', shared: true });
  await assert.rejects(ask('hang'), { code: 'engine_stalled', shared: true });
  await lively;
  assert.equal((await ask('echo x')).text, 'x');
});

test('another model takes over when the last of several generations is over, and who comes waits for it', async (t) => {
  const { supervisor, ask, tokens } = supervised(t, { rows: 2, model_dir: 'model-a' });
  supervisor.start();
  const end = new AbortController();
  const [short, long] = [ask('slow 1'), ask('slow 100000', end.signal)];
  await tokens.atLeast(2, (text) => text.startsWith('t0'), 'both have begun');
  supervisor.use({ dir: 'model-b', trust: null });
  await short;
  const next = ask('echo next');
  assert.equal(supervisor.info?.model.id, 'model-a');
  end.abort();
  await long;
  assert.equal((await next).text, 'next');
  assert.equal(supervisor.info?.model.id, 'model-b');
});
