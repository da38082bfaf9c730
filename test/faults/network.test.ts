import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';

test('an engine that computes for ten seconds without yielding does not cost the connection, and telemetry flows', {
  skip: mosquittoMissing(),
}, async (t) => {
  const stage = new Stage(t);
  const broker = stage.add(await startMosquitto());
  const proxy = stage.add(await startProxy(broker));
  const requester = await stage.requester({ url: broker.url });
  const daemon = stage.daemon({ url: proxy.url, settings: { mqtt: { keepalive_s: 2 } } });
  await requester.ready();
  const id = await requester.send('block 10000');
  await requester.event(id, 'started');
  const since = requester.heard.mark;
  // The daemon is asked while its engine is deaf, and refuses at once.
  assert.equal((await requester.askRaw('{')).error?.code, 'invalid_request');
  const { text, timings } = await requester.result(id);
  assert.equal(text, 'unblocked');
  assert.ok((timings?.total_ms ?? 0) >= 10_000);

  const during = requester.heard.all.slice(since);
  const telemetry = during.filter(({ topic }) => topic === 'slmd/kitchen/telemetry');
  assert.ok(telemetry.length >= 25, `${telemetry.length} of some 50 documents`);
  const lags = telemetry.map(({ payload }) => JSON.parse(payload.toString()).process.event_loop_lag_p99_ms);
  assert.ok(lags.toSorted((a, b) => a - b)[Math.floor(lags.length / 2)] < 100, `lag ${lags}`);
  assert.ok(!during.some(({ topic }) => topic === 'slmd/kitchen/status'), 'it never went away');
  assert.equal(proxy.accepted, 1);
  assert.ok(!daemon.log.all.some(({ text }) => text.includes('retry_ms')));
});
