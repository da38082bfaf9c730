import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import mqttPacket from 'mqtt-packet';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';
import { Heard } from '../support/wait.ts';

/** A broker that says nothing to a CONNECT of the wrong version, and hangs up. */
async function silentServer(stage: Stage) {
  const versions = new Heard<number>();
  const server = createServer((socket) => {
    const parser = mqttPacket.parser();
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => parser.parse(bytes));
    parser.on('packet', (packet) => {
      if (packet.cmd !== 'connect') return;
      versions.push(packet.protocolVersion ?? 0);
      socket.destroy();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stage.add({
    stop: async () => {
      server.close();
    },
  });
  return { versions, url: `mqtt://127.0.0.1:${(server.address() as { port: number }).port}` };
}

test('[FAULT-13] [SLMD-MQTT-4] a broker that refuses MQTT 5 with a CONNACK is spoken to in 3.1.1 at once', async (t) => {
  const stage = new Stage(t);
  const { url } = stage.add(await startEmbeddedBroker());
  const requester = await stage.requester({ url, version: 4 });
  const daemon = stage.daemon({ url });
  assert.equal((await requester.info()).protocol, '3.1.1');
  const downs = daemon.log.all.filter(({ text }) => text.includes('retry_ms'));
  assert.equal(downs.length, 1);
  assert.match(downs[0]?.text ?? '', /"code":"protocol","retry_ms":0/);
});

test('[FAULT-13] [SLMD-MQTT-4] a broker that twice closes before its CONNACK is then spoken to in 3.1.1', async (t) => {
  const stage = new Stage(t);
  const { versions, url } = await silentServer(stage);
  stage.daemon({ url });
  await versions.atLeast(3, () => true, 'three attempts');
  assert.deepEqual(versions.all.slice(0, 3), [5, 5, 4]);
});

test('[SLMD-MQTT-4] a version that is configured is the only one spoken', async (t) => {
  const stage = new Stage(t);
  const { versions, url } = await silentServer(stage);
  stage.daemon({ url, settings: { mqtt: { protocol: '5.0' } } });
  await versions.atLeast(5, () => true, 'five attempts');
  assert.deepEqual(new Set(versions.all), new Set([5]));
});

test('[FAULT-13] [SLMD-MQTT-4] one connection that is closed before its CONNACK does not change the version', {
  skip: mosquittoMissing(),
}, async (t) => {
  const stage = new Stage(t);
  const broker = stage.add(await startMosquitto());
  const proxy = stage.add(await startProxy(broker));
  proxy.refuseNext(1);
  const requester = await stage.requester({ url: broker.url });
  stage.daemon({ url: proxy.url });
  assert.equal((await requester.info()).protocol, '5.0');
  assert.equal(proxy.accepted, 2);
});

test('[FAULT-13] [SLMD-MQTT-4] a broker behind a forwarded port is spoken to in MQTT 5 again after it was away', {
  skip: mosquittoMissing(),
}, async (t) => {
  const stage = new Stage(t);
  const broker = stage.add(await startMosquitto());
  const proxy = stage.add(await startProxy(broker));
  const requester = await stage.requester({ url: broker.url });
  const daemon = stage.daemon({ url: proxy.url });
  await requester.info();
  const since = requester.heard.mark;
  const attempts = daemon.log.mark;
  proxy.refuse(true);
  proxy.cut();
  await daemon.log.atLeast(6, ({ text }) => text.includes('retry_ms'), 'six attempts', { since: attempts });
  proxy.refuse(false);
  assert.equal((await requester.info({ since })).protocol, '5.0');
});
