import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';
import { inTime } from '../support/wait.ts';

/** What systemd gives a service by default is nine times as much. */
const stopMs = 10_000;

test('[FAULT-15] [SLMD-STA-5] a device whose engine hears nothing stops in time, and the prompt is left to the next process', async (t) => {
  const stage = new Stage(t);
  const { url } = stage.add(await startEmbeddedBroker());
  const requester = await stage.requester({ url, version: 4 });
  const daemon = stage.daemon({ url, settings: { limits: { drain_ms: 100 } } });
  await requester.ready();
  const deaf = await requester.send('hang');
  await requester.event(deaf, 'started');
  await inTime(daemon.stop(), 'the daemon stops', stopMs);
  await requester.status(({ state, why }) => state === 'offline' && why === 'stopped');
  assert.ok(!requester.heard.all.some(({ topic }) => topic.endsWith(`/result/${deaf}`)));
});

test('[FAULT-15] [SLMD-STA-5] a device whose network is silent stops in time, and is offline by its will', async (t) => {
  const stage = new Stage(t);
  const broker = stage.add(await startEmbeddedBroker());
  const proxy = stage.add(await startProxy(broker));
  const requester = await stage.requester({ url: broker.url, version: 4 });
  const daemon = stage.daemon({ url: proxy.url, settings: { mqtt: { keepalive_s: 60 } } });
  await requester.ready();
  proxy.blackhole(true);
  await inTime(daemon.stop(), 'the daemon stops', stopMs);
  proxy.blackhole(false);
  await requester.status(({ state, why }) => state === 'offline' && why === 'connection lost');
});

test('[FAULT-15] [SLMD-STA-5] a device whose broker never answered stops at once', async (t) => {
  const stage = new Stage(t);
  const broker = stage.add(await startEmbeddedBroker());
  const proxy = stage.add(await startProxy(broker));
  proxy.blackhole(true);
  const daemon = stage.daemon({ url: proxy.url });
  await proxy.connected();
  await inTime(daemon.stop(), 'the daemon stops', stopMs / 2);
});
