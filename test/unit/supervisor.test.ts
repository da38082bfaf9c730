import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeModel } from '../support/fake-engine.ts';
import { alive, supervised } from '../support/supervised.ts';
import { temporaryDir } from '../support/temporary.ts';

test('an engine is ready when it says so, and a generation that came before has waited for it', async (t) => {
  const { supervisor, ask, events, tokens } = supervised(t);
  supervisor.start();
  const done = await ask('echo one two');
  assert.deepEqual([done.text, done.finish_reason], ['one two', 'stop']);
  assert.equal(tokens.all.join(''), 'one two');
  assert.deepEqual(supervisor.info?.model, fakeModel);
  assert.deepEqual(events.all, [{ type: 'ready' }]);
});

test('an engine is what the kernel takes first where memory runs out, before it has loaded anything', {
  skip: existsSync('/proc/self/oom_score_adj') ? false : 'this kernel does not say whom it takes',
}, (t) => {
  const { supervisor } = supervised(t);
  supervisor.start();
  const scoreOf = (pid: string | number) => Number(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
  assert.equal(scoreOf(supervisor.pid as number), 500);
  assert.ok(scoreOf('self') < 500);
});

test('an engine that dies while it works fails that attempt, and the next one is ready soon', async (t) => {
  const { supervisor, ask, events } = supervised(t);
  supervisor.start();
  for (const [prompt, code] of [
    ['crash', 'engine_crashed'],
    ['crash exit', 'engine_crashed'],
    ['oom', 'out_of_memory'],
  ] as const)
    await assert.rejects(ask(prompt), { code }, prompt);
  assert.equal((await ask('echo again')).text, 'again');
  const downs = events.all.filter(({ type }) => type === 'down');
  assert.deepEqual(
    downs.map(({ code }) => code),
    ['engine_crashed', 'engine_crashed', 'out_of_memory'],
  );
});

test('waits between restarts grow up to their bound', async (t) => {
  const { supervisor, events } = supervised(t, { model_dir: 'load_crash' });
  supervisor.start();
  const downs = await events.atLeast(4, ({ type }) => type === 'down', 'four crashes');
  for (const [i, { retryMs = 0 }] of downs.slice(0, 4).entries()) {
    const most = Math.min(40, 10 * 2 ** i);
    assert.ok(retryMs >= most / 2 && retryMs <= most, `${retryMs} after ${i + 1}`);
  }
});

test('who waits for an engine that never becomes ready is told so, with the reason', async (t) => {
  const { supervisor, ask } = supervised(t, { model_dir: 'load_crash' });
  supervisor.start();
  await assert.rejects(ask('echo x'), { code: 'engine_crashed' });
});

test('an engine without a sign of life is stopped, and its attempt has stalled', async (t) => {
  const { supervisor, ask, events } = supervised(t, { stall_ms: 1000 });
  supervisor.start();
  await events.find(({ type }) => type === 'ready', 'ready');
  const pid = supervisor.pid;
  await assert.rejects(ask('hang'), { code: 'engine_stalled' });
  assert.ok(!alive(pid));
  assert.equal(events.all.at(-1)?.code, 'engine_stalled');
});

test('an engine that stalls is asked to end before it is killed', async (t) => {
  const { supervisor, ask, events } = supervised(t, { stall_ms: 1000 });
  supervisor.start();
  await events.find(({ type }) => type === 'ready', 'ready');
  const { pid } = supervisor;
  const file = join(temporaryDir(t), 'heard');
  await assert.rejects(ask(`hang ${file}`), { code: 'engine_stalled' });
  assert.equal(readFileSync(file, 'utf8'), 'SIGTERM');
  assert.ok(!alive(pid));
  assert.equal((await ask('echo x')).text, 'x');
});

test('an engine that is frozen is killed, and its attempt has stalled', async (t) => {
  const { supervisor, ask, tokens, events } = supervised(t, { stall_ms: 1000 });
  supervisor.start();
  const running = assert.rejects(ask('slow 100000'), { code: 'engine_stalled' });
  await tokens.find(() => true, 'a token');
  process.kill(supervisor.pid ?? 0, 'SIGSTOP');
  await running;
  await events.atLeast(2, ({ type }) => type === 'ready', 'ready again');
});

test('an engine whose signs of life wait to be read, because this process was held up, has not stalled', async (t) => {
  const { supervisor, ask, tokens, events } = supervised(t, { stall_ms: 500 });
  supervisor.start();
  const running = ask('slow 150');
  await tokens.find(() => true, 'a token');
  // As SIGSTOP and SIGCONT do: the timer is due long before anything is read.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2000);
  assert.equal((await running).usage.completion_tokens, 150);
  assert.deepEqual(events.all, [{ type: 'ready' }]);
});

test('after an answer the waits between restarts are short again', async (t) => {
  const { supervisor, ask, events } = supervised(t, { restart: { min_ms: 10, max_ms: 10_000 } });
  supervisor.start();
  for (let i = 0; i < 4; i++) await assert.rejects(ask('crash'), { code: 'engine_crashed' });
  await ask('echo x');
  await assert.rejects(ask('crash'), { code: 'engine_crashed' });
  const waits = events.all.flatMap(({ retryMs }) => (retryMs === undefined ? [] : [retryMs]));
  assert.ok((waits[3] ?? 0) >= 40, `${waits}`);
  assert.ok((waits[4] ?? 99) <= 10, `${waits}`);
});

test('a generation that is longer than the stall time but makes progress is left alone', async (t) => {
  const { supervisor, ask, events } = supervised(t, { stall_ms: 1000 });
  supervisor.start();
  assert.equal((await ask('slow 60')).usage.completion_tokens, 60);
  assert.deepEqual(events.all, [{ type: 'ready' }]);
});

test('an engine that never gets ready is stopped as one that stalls', async (t) => {
  const { supervisor, events } = supervised(t, { model_dir: 'never_ready', load_max_ms: 300 });
  supervisor.start();
  const { code } = await events.find(({ type }) => type === 'down', 'down');
  assert.equal(code, 'engine_stalled');
});

test('a load that takes longer than a stall is waited for', async (t) => {
  // No process is ready within a millisecond.
  const { supervisor, events } = supervised(t, { stall_ms: 1 });
  supervisor.start();
  await events.find(() => true, 'an event');
  assert.deepEqual(events.all, [{ type: 'ready' }]);
});

test('a model that does not load is told at once, and one that is mended is found without a restart', async (t) => {
  const model_dir = join(temporaryDir(t, { 'load_failed/x': '' }), 'load_failed');
  const { supervisor, ask, events } = supervised(t, { model_dir });
  supervisor.start();
  await assert.rejects(ask('echo x'), { code: 'model_not_ready' });
  assert.equal((await events.find(({ type }) => type === 'down', 'down')).code, 'model_not_ready');
  await assert.rejects(ask('echo x'), { code: 'model_not_ready' });
  writeFileSync(join(model_dir, 'fixed'), '');
  await events.find(({ type }) => type === 'ready', 'ready');
  assert.equal((await ask('echo x')).text, 'x');
});

test('a signal ends a generation early, with the text there was, and the engine lives on', async (t) => {
  const { supervisor, ask, tokens } = supervised(t);
  supervisor.start();
  const end = new AbortController();
  const running = ask('slow 100000', end.signal);
  await tokens.find((text) => text.startsWith('t'), 'a token');
  const pid = supervisor.pid;
  end.abort();
  const { finish_reason, text } = await running;
  assert.equal(finish_reason, 'cancelled');
  assert.match(text, /^t0 /);
  assert.equal((await ask('echo x')).text, 'x');
  assert.equal(supervisor.pid, pid);
});

test('a signal that came before the generation ends it as well', async (t) => {
  const { supervisor, ask, events } = supervised(t);
  supervisor.start();
  await events.find(({ type }) => type === 'ready', 'ready');
  assert.equal((await ask('slow 100000', AbortSignal.abort())).finish_reason, 'cancelled');
});

test('a signal ends the wait for an engine that is not ready', async (t) => {
  const { supervisor, ask } = supervised(t, { model_dir: 'never_ready' });
  supervisor.start();
  const end = new AbortController();
  const waiting = ask('echo x', end.signal);
  end.abort();
  await assert.rejects(waiting, { code: 'cancelled' });
  await assert.rejects(ask('echo x', AbortSignal.abort()), { code: 'cancelled' });
});

test('a failure that the engine reports fails the attempt, and the engine lives on', async (t) => {
  const { supervisor, ask, events } = supervised(t);
  supervisor.start();
  await assert.rejects(ask('fail'), { code: 'engine_failed' });
  assert.equal((await ask('echo x')).text, 'x');
  assert.deepEqual(events.all, [{ type: 'ready' }]);
});

test('what is no message is reported and harmless; a message with another key is dropped', async (t) => {
  const { supervisor, ask, events, tokens } = supervised(t);
  supervisor.start();
  await ask('echo first');
  assert.equal((await ask('garbage')).text, 'clean');
  assert.equal(events.all.filter(({ type }) => type === 'garbage').length, 6);
  assert.deepEqual(tokens.all, ['first', 'clean']);
});

test('stop ends the process and whoever waits, twice without harm, and start starts again', async (t) => {
  const { supervisor, ask, events } = supervised(t);
  supervisor.start();
  await ask('echo x');
  const pid = supervisor.pid;
  const running = assert.rejects(ask('hang'), { code: 'engine_crashed' });
  await Promise.all([supervisor.stop(), supervisor.stop()]);
  await supervisor.stop();
  await running;
  assert.ok(!alive(pid));
  assert.deepEqual([supervisor.pid, supervisor.info, events.all], [null, null, [{ type: 'ready' }]]);
  supervisor.start();
  assert.equal((await ask('echo y')).text, 'y');
});

test('stop before start, before the engine is ready and between two restarts leaves nothing behind', async (t) => {
  const before = supervised(t);
  await before.supervisor.stop();
  assert.equal(before.supervisor.pid, null);

  const early = supervised(t, { model_dir: 'never_ready' });
  early.supervisor.start();
  const pid = early.supervisor.pid;
  const waiting = assert.rejects(early.ask('echo x'), { code: 'model_not_ready' });
  await early.supervisor.stop();
  await waiting;
  assert.ok(!alive(pid));

  const between = supervised(t, { model_dir: 'load_crash', restart: { min_ms: 60_000, max_ms: 60_000 } });
  between.supervisor.start();
  await between.events.find(({ type }) => type === 'down', 'down');
  const rejected = assert.rejects(between.ask('echo x'), { code: 'model_not_ready' });
  await between.supervisor.stop();
  await rejected;
});

test('an engine that is killed from outside is started again', async (t) => {
  const { supervisor, events } = supervised(t);
  supervisor.start();
  await events.find(({ type }) => type === 'ready', 'ready');
  process.kill(supervisor.pid ?? 0, 'SIGKILL');
  await events.atLeast(2, ({ type }) => type === 'ready', 'ready again');
  assert.ok(alive(supervisor.pid));
});

test('the engine sees no setting and no credential of the daemon, and sends no telemetry', async (t) => {
  process.env.SLMD_MQTT_PASSWORD = 'secret';
  process.env.SOME_TOKEN = 'secret';
  t.after(() => {
    delete process.env.SLMD_MQTT_PASSWORD;
    delete process.env.SOME_TOKEN;
  });
  const { supervisor, ask } = supervised(t);
  supervisor.start();
  await ask('echo x');
  const environment = readFileSync(`/proc/${supervisor.pid}/environ`, 'utf8').split('\0');
  assert.ok(environment.includes('ORT_DISABLE_TELEMETRY=1'));
  assert.ok(!environment.some((entry) => entry.startsWith('SLMD_') || entry.includes('secret')));
});

test('another model takes the place of the one that is loaded, and whoever asks meanwhile is answered by it', async (t) => {
  const { supervisor, ask, events } = supervised(t, { model_dir: 'model-a' });
  supervisor.start();
  assert.equal((await ask('echo one')).text, 'one');
  supervisor.use({ dir: 'model-b', trust: null });
  assert.equal((await ask('echo two')).text, 'two');
  assert.equal(supervisor.info?.model.id, 'model-b');
  assert.deepEqual(
    events.all.map(({ type }) => type),
    ['ready', 'ready'],
    'it is no failure',
  );
});

test('a generation that is under way is ended by the model that began it', async (t) => {
  const { supervisor, ask, tokens, events } = supervised(t, { model_dir: 'model-a' });
  supervisor.start();
  const answer = ask('slow 10');
  await tokens.find(() => true, 'a token');
  const pid = supervisor.pid;
  supervisor.use({ dir: 'model-b', trust: null });
  assert.equal(supervisor.info?.model.id, 'model-a');
  assert.equal((await answer).usage.completion_tokens, 10);
  assert.equal((await ask('echo next')).text, 'next');
  assert.equal(supervisor.info?.model.id, 'model-b');
  assert.ok(!alive(pid));
  assert.ok(events.all.every(({ type }) => type === 'ready'));
});

test('of several changes the last counts, also while an engine loads, is gone or has crashed', async (t) => {
  const { supervisor, ask, events, tokens } = supervised(t, {
    model_dir: 'load_failed',
    restart: { min_ms: 60_000, max_ms: 60_000 },
  });
  supervisor.start();
  await events.find(({ type }) => type === 'down', 'it does not load');
  for (const dir of ['never_ready', 'load_crash', 'model-b']) supervisor.use({ dir, trust: null });
  assert.equal((await ask('echo x')).text, 'x');
  assert.equal(supervisor.info?.model.id, 'model-b');
  const same = ask('echo same');
  supervisor.use({ dir: 'model-b2', trust: null });
  assert.equal((await same).text, 'same');
  const crash = ask('crash late');
  await tokens.find((text) => text.startsWith('lost'), 'it has begun');
  supervisor.use({ dir: 'model-c', trust: null });
  await assert.rejects(crash, { code: 'engine_crashed' });
  assert.equal((await ask('echo y')).text, 'y');
  assert.equal(supervisor.info?.model.id, 'model-c');
});

for (const dir of ['load_failed', 'load_crash']) {
  test(`who waits for a model that cannot be loaded (${dir}) is answered by the one instead`, async (t) => {
    const whys: string[] = [];
    const { supervisor, ask } = supervised(
      t,
      { model_dir: dir },
      {
        unloadable: (why) => {
          whys.push(why);
          return whys.length === 1 ? { dir: 'model-old', trust: null } : null;
        },
      },
    );
    supervisor.start();
    assert.equal((await ask('echo x')).text, 'x');
    assert.equal(supervisor.info?.model.id, 'model-old');
    assert.equal(whys.length, 1);
  });
}
