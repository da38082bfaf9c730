import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { startCommand } from '../support/command.ts';
import { freePort } from '../support/mosquitto.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';

test('[SLMD-RES-7] a device whose node of the broker is gone goes on with another, and so does who asks it', async (t) => {
  const stage = new Stage(t);
  // Two doors to one broker, as the nodes of a cluster are.
  const broker = stage.add(await startEmbeddedBroker());
  const proxy = stage.add(await startProxy(broker));
  const nobody = `mqtt://127.0.0.1:${await freePort()}`;
  const requester = await stage.requester({ url: broker.url, version: 4 });
  const fallback_urls = [nobody, broker.url];
  const daemon = stage.daemon({ url: proxy.url, settings: { mqtt: { fallback_urls } } });
  await requester.ready();
  const id = await requester.send('slow 20');
  await requester.event(id, 'started');
  const since = requester.heard.mark;
  proxy.refuse(true);
  proxy.cut();
  await requester.ready({ since });
  assert.equal((await requester.result(id)).status, 'ok');
  await daemon.log.find(
    ({ text }) => text.includes('connected') && text.includes(broker.url),
    'it says where it is',
  );
  const env = { SLMD_MQTT_URL: nobody, SLMD_MQTT_FALLBACK_URLS: JSON.stringify([broker.url]) };
  const { code, stdout } = await startCommand(['ask', 'echo hello'], env).ran;
  assert.deepEqual([code, stdout], [0, 'hello\n']);
});
