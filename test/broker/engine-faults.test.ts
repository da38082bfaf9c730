import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import type { DaemonOptions } from '../support/daemon.ts';
import { Stage } from '../support/stage.ts';

/** A device on a broker of its own; what the engine does wrong does not depend on which. */
async function device(t: TestContext, options: Omit<DaemonOptions, 'url'> = {}) {
  const stage = new Stage(t);
  const { url } = stage.add(await startEmbeddedBroker());
  const requester = await stage.requester({ url, version: 4 });
  return { requester, daemon: stage.daemon({ url, ...options }) };
}

function temporaryDir(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-test-'));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

test('[FAULT-17] [SLMD-ERR-3] a prompt that kills the engine is tried so often, then given up, and its neighbours are served', async (t) => {
  const { requester } = await device(t);
  await requester.ready();
  const before = await requester.send('echo before');
  const poison = await requester.send('crash');
  const after = await requester.send('echo after');
  assert.equal((await requester.result(before)).text, 'before');
  const { status, error, text, attempt } = await requester.result(poison);
  assert.deepEqual([status, error?.code, error?.retryable], ['error', 'engine_crashed', true]);
  assert.deepEqual([text, attempt], ['', 3]);
  assert.equal((await requester.result(after)).text, 'after');
  const attempts = requester.events(poison).flatMap((event) => ('attempt' in event ? [event.attempt] : []));
  assert.deepEqual(attempts, [1, 2, 3]);
  const { counters } = await requester.telemetry(({ counters }) => counters.errors.engine_crashed === 1);
  assert.equal(counters.engine_restarts, 3);
  assert.equal(counters.errors.engine_crashed, 1);
});

test('[SLMD-ERR-3] [SLMD-EVT-2] an engine that died once answers at the second attempt', async (t) => {
  const { requester } = await device(t);
  await requester.ready();
  const file = join(temporaryDir(t), 'died');
  const { status, text, attempt } = await requester.ask(`crash once ${file}`);
  assert.deepEqual([status, text, attempt], ['ok', 'survived', 2]);
  assert.ok(existsSync(file));
});

test('[FAULT-20] [SLMD-TOK-1] after a crash under way the pieces start over with the next attempt', async (t) => {
  const { requester } = await device(t, { settings: { engine: { attempts_max: 2 } } });
  await requester.ready();
  const id = await requester.send('crash late');
  assert.equal((await requester.result(id)).attempt, 2);
  const firsts = requester.tokens(id).filter(({ seq }) => seq === 0);
  assert.deepEqual(
    firsts.map(({ attempt, text }) => [attempt, text]),
    [
      [1, 'lost1 '],
      [2, 'lost1 '],
    ],
  );
});

test('[SLMD-STA-2] while the engine is gone the device is degraded and says why, then ready again', async (t) => {
  const { requester } = await device(t, { settings: { engine: { attempts_max: 1 } } });
  await requester.ready();
  const since = requester.heard.mark;
  assert.equal((await requester.ask('crash exit')).error?.code, 'engine_crashed');
  const { why } = await requester.status(({ state }) => state === 'degraded', { since });
  assert.match(why ?? '', /exit code 7/);
  await requester.ready({ since });
});

test('[SLMD-ERR-3] an engine that runs out of memory is told apart from one that crashed', async (t) => {
  const { requester } = await device(t, { settings: { engine: { attempts_max: 1 } } });
  await requester.ready();
  assert.equal((await requester.ask('oom')).error?.code, 'out_of_memory');
  assert.equal((await requester.ask('echo hello')).text, 'hello');
});

test('[SLMD-ERR-3] an engine without a sign of life is restarted, and its prompt ends with engine_stalled', async (t) => {
  const { requester } = await device(t, { settings: { engine: { attempts_max: 2, stall_ms: 1000 } } });
  await requester.ready();
  const stuck = await requester.send('hang');
  const neighbour = await requester.send('echo hello');
  const { status, error, attempt } = await requester.result(stuck);
  assert.deepEqual([status, error?.code, attempt], ['error', 'engine_stalled', 2]);
  assert.equal((await requester.result(neighbour)).text, 'hello');
});

test('[FAULT-17] [SLMD-ERR-3] of four prompts under way one that kills the engine is found, and takes no attempt of the others', async (t) => {
  const { requester } = await device(t, { settings: { engine: { rows: 4, attempts_max: 1 } } });
  await requester.ready();
  const neighbours = [1, 2, 3].map(() => requester.send('slow 60'));
  const ids = await Promise.all(neighbours);
  for (const id of ids) await requester.event(id, 'started');
  const poison = await requester.send('crash late');
  const last = await requester.send('echo last');
  for (const id of ids) {
    const { status, attempt, usage } = await requester.result(id);
    assert.deepEqual([status, attempt, usage?.completion_tokens], ['ok', 2, 60]);
  }
  const { status, error, attempt } = await requester.result(poison);
  assert.deepEqual([status, error?.code, attempt], ['error', 'engine_crashed', 2]);
  assert.equal((await requester.result(last)).text, 'last');
  const { counters } = await requester.telemetry(({ counters }) => counters.errors.engine_crashed === 1);
  assert.equal(counters.engine_restarts, 2);
});

test('[SLMD-CAN-1] [SLMD-RES-5] of four prompts under way one is cancelled, one expires, and two are answered', async (t) => {
  const { requester } = await device(t, { settings: { engine: { rows: 4 } } });
  await requester.ready();
  const ids: string[] = [];
  for (const prompt of ['slow 100000', 'slow 40', 'slow 40']) ids.push(await requester.send(prompt));
  ids.push(await requester.send({ prompt: 'slow 100000', deadline_ms: 300 }));
  for (const id of ids) await requester.event(id, 'started');
  await requester.cancel(ids[0]!);
  const results = await Promise.all(ids.map((id) => requester.result(id)));
  assert.deepEqual(
    results.map(({ status }) => status),
    ['cancelled', 'ok', 'ok', 'expired'],
  );
});

test('an engine that is slow but shows signs of life is left alone', async (t) => {
  const { requester } = await device(t, { settings: { engine: { stall_ms: 1000 } } });
  await requester.ready();
  const { status, attempt, timings } = await requester.ask('slow 80');
  assert.deepEqual([status, attempt], ['ok', 1]);
  assert.ok((timings?.total_ms ?? 0) > 1500);
});

test('[SLMD-ERR-4] without a model that loads prompts end with model_not_ready, until one does', async (t) => {
  const model_dir = join(temporaryDir(t), 'load_failed');
  const { requester } = await device(t, { model_dir });
  const { why } = await requester.status(({ state }) => state === 'degraded');
  assert.match(why ?? '', /asked not to load/);
  const { status, error } = await requester.ask('echo hello');
  assert.deepEqual([status, error?.code, error?.retryable], ['error', 'model_not_ready', true]);
  mkdirSync(model_dir);
  writeFileSync(join(model_dir, 'fixed'), '');
  await requester.ready();
  assert.equal((await requester.ask('echo hello')).text, 'hello');
});

test('[SLMD-ERR-4] an engine that dies whenever it loads is not waited for without end', async (t) => {
  const { requester } = await device(t, { model_dir: 'load_crash' });
  await requester.status(({ state }) => state === 'degraded');
  const { error, attempt } = await requester.ask('echo hello');
  assert.deepEqual([error?.code, attempt], ['engine_crashed', 3]);
});

test('[SLMD-STA-2] [SLMD-RES-5] a model that loads for ever leaves the device starting, and deadlines count', async (t) => {
  const { requester } = await device(t, { model_dir: 'never_ready' });
  const { why } = await requester.status(({ state }) => state === 'starting');
  assert.match(why ?? '', /loading/);
  const { status, text } = await requester.ask({ prompt: 'echo hello', deadline_ms: 100 });
  assert.deepEqual([status, text], ['expired', '']);
  const waiting = await requester.send('echo hello');
  await requester.event(waiting, 'accepted');
  await requester.cancel(waiting);
  assert.equal((await requester.result(waiting)).status, 'cancelled');
});
