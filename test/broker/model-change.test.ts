import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Info } from '../../src/contract/status.ts';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { ModelStore } from '../../src/supply/store.ts';
import type { Message } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

/** A device that serves a store with these models, of which the last was activated last. */
async function device(t: TestContext, ...names: string[]) {
  const store = new ModelStore(temporaryDir(t));
  for (const name of names) {
    mkdirSync(join(store.dir, name));
    store.activate(name);
  }
  const stage = new Stage(t);
  const { url } = stage.add(await startEmbeddedBroker());
  const requester = await stage.requester({ url, version: 4 });
  stage.daemon({ url, model_dir: null, settings: { model: { store: store.dir } } });
  const modelOf = ({ payload }: { payload: Buffer }) => (JSON.parse(payload.toString()) as Info).model?.id;
  const infoOf = (id: string, since = 0) => {
    const accepts = (message: Message) =>
      message.topic === `${requester.base}/info` && modelOf(message) === id;
    return requester.heard.find(accepts, `info names ${id}`, { since });
  };
  /** Puts another model into the store, and has it served. */
  const activate = (name: string) => {
    mkdirSync(join(store.dir, name));
    store.activate(name);
  };
  return { requester, infoOf, activate };
}

test('[SLMD-STA-7] a model is changed between two prompts, and none is lost', async (t) => {
  const { requester, infoOf, activate } = await device(t, 'model-a');
  await requester.ready();
  await infoOf('model-a');
  const under_way = await requester.send('slow 400');
  await requester.event(under_way, 'started');
  const waiting = [await requester.send('echo one'), await requester.send('echo two')];
  activate('model-b');
  const [first, ...rest] = await Promise.all([under_way, ...waiting].map((id) => requester.result(id)));
  assert.deepEqual([first?.status, first?.model, first?.attempt], ['ok', 'model-a', 1]);
  assert.deepEqual(
    rest.map(({ status, model, text, attempt }) => [status, model, text, attempt]),
    [
      ['ok', 'model-b', 'one', 1],
      ['ok', 'model-b', 'two', 1],
    ],
  );
  await infoOf('model-b');
  const states = requester.documents<{ state: string }>(`${requester.base}/status`).map(({ state }) => state);
  assert.ok(!states.includes('degraded'), states.join());
});

test('[SLMD-STA-7] where the new model cannot be loaded the one before answers, and the status says so', async (t) => {
  const { requester, infoOf, activate } = await device(t, 'model-a');
  await requester.ready();
  const since = requester.heard.mark;
  activate('load_failed');
  const { why } = await requester.status(({ state }) => state === 'degraded', { since });
  assert.match(why ?? '', /load_failed.*; model-a answers/);
  assert.deepEqual(await requester.ask('echo x').then(({ status, text, model }) => [status, text, model]), [
    'ok',
    'x',
    'model-a',
  ]);
  await infoOf('model-a', since);
  activate('model-b');
  await infoOf('model-b');
  await requester.ready({ since });
});

test('[SLMD-STA-7] a device that starts with a model that cannot be loaded serves the one before', async (t) => {
  const { requester } = await device(t, 'model-a', 'load_crash');
  const { why } = await requester.status(({ why }) => /model-a/.test(why ?? ''));
  assert.match(why ?? '', /load_crash.*; model-a answers/);
  assert.equal((await requester.ask('echo x')).model, 'model-a');
});
