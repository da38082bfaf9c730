import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BrokerKind, onEachBroker } from '../support/brokers.ts';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';

/** A device that reaches its broker through a proxy, and a requester that reaches it directly. */
async function apart(stage: Stage, kind: BrokerKind, mqtt: { [name: string]: number } = {}) {
  const broker = stage.add(await kind.start());
  const proxy = stage.add(await startProxy(broker));
  const requester = await stage.requester({ url: broker.url, version: kind.version });
  const settings = { mqtt: { protocol: kind.protocol, ...mqtt } };
  const daemon = stage.daemon({ url: proxy.url, settings });
  await requester.ready();
  return { broker, proxy, requester, daemon };
}

onEachBroker('a device whose connection ends', (kind) => {
  test('[SLMD-RES-7] [SLMD-STA-1] delivers the results that waited, after a birth, on the next connection', async (t) => {
    const { proxy, requester, daemon } = await apart(new Stage(t), kind);
    const ids = [await requester.send('slow 20'), await requester.send('echo waited')];
    for (const id of ids) await requester.event(id, 'accepted');
    const since = requester.heard.mark;
    proxy.refuse(true);
    proxy.cut();
    await requester.status(({ state }) => state === 'offline', { since });
    await daemon.log.atLeast(
      2,
      ({ text }) => text.includes('ended'),
      'both are answered without a connection',
    );
    assert.ok(!requester.heard.all.some(({ topic }) => topic.includes('/result/')));
    proxy.refuse(false);
    const results = await Promise.all(ids.map((id) => requester.result(id)));
    assert.deepEqual(
      results.map(({ status }) => status),
      ['ok', 'ok'],
    );
    const order = requester.heard.all.slice(since).map(({ topic }) => topic);
    assert.ok(order.lastIndexOf('slmd/kitchen/info') < order.indexOf(`slmd/kitchen/result/${ids[0]}`));
    assert.ok(
      order.indexOf(`slmd/kitchen/result/${ids[0]}`) < order.indexOf(`slmd/kitchen/result/${ids[1]}`),
    );
    const { counters } = await requester.telemetry(({ counters }) => counters.mqtt_reconnects > 0);
    assert.equal(counters.mqtt_reconnects, 1);
  });

  test('[FAULT-20] [SLMD-TOK-3] drops the pieces that find no connection, and counts them; the result has the whole text', async (t) => {
    const { proxy, requester, daemon } = await apart(new Stage(t), kind);
    const id = await requester.send('slow 60');
    await requester.on(`slmd/kitchen/token/${id}`);
    proxy.refuse(true);
    proxy.cut();
    await requester.status(({ state }) => state === 'offline');
    await daemon.log.find(({ text }) => text.includes('ended'), 'it is answered without a connection');
    proxy.refuse(false);
    const { text } = await requester.result(id);
    const pieces = requester.tokens(id).map((piece) => piece.text);
    assert.ok(text.startsWith('t0 ') && text.endsWith('t59 '));
    assert.ok(pieces.join('').length < text.length, 'some were dropped');
    const { counters } = await requester.telemetry(({ counters }) => counters.token_batches_dropped > 0);
    assert.ok(counters.token_batches_dropped > 0);
  });

  test('[FAULT-13] [SLMD-MQTT-4] speaks the same version after one cut', async (t) => {
    const { proxy, requester } = await apart(new Stage(t), kind);
    assert.equal((await requester.info()).protocol, kind.spoken);
    const since = requester.heard.mark;
    proxy.refuseNext(1);
    proxy.cut();
    assert.equal((await requester.info({ since })).protocol, kind.spoken);
  });

  test('[SLMD-STA-3] notices a network that is silent, and is offline meanwhile', async (t) => {
    const { proxy, requester, daemon } = await apart(new Stage(t), kind, { keepalive_s: 1 });
    const since = requester.heard.mark;
    proxy.blackhole(true);
    await daemon.log.find(({ text }) => text.includes('"code":"timeout"'), 'the silence is noticed');
    await requester.status(({ state }) => state === 'offline', { since });
    proxy.blackhole(false);
    proxy.cut();
    await requester.ready({ since });
    assert.equal((await requester.ask('echo hello')).text, 'hello');
  });
});

test('[SLMD-RES-1] prompts that the broker kept for a device that was away are answered', {
  skip: mosquittoMissing(),
}, async (t) => {
  const stage = new Stage(t);
  const broker = stage.add(await startMosquitto());
  const requester = await stage.requester({ url: broker.url });
  const proxy = stage.add(await startProxy(broker));
  stage.daemon({ url: proxy.url });
  await requester.ready();
  proxy.refuse(true);
  proxy.cut();
  await requester.status(({ state }) => state === 'offline');
  const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => requester.send(`echo ${i}`)));
  proxy.refuse(false);
  const texts = await Promise.all(ids.map(async (id) => (await requester.result(id)).text));
  assert.deepEqual(
    texts,
    ids.map((_, i) => String(i)),
  );
});
