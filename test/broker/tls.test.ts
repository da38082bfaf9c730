import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type ConnectionOptions, connect } from 'node:tls';
import { certificate, makeCertificates, startExampleBroker } from '../support/example-broker.ts';
import { commandMissing, mosquittoMissing } from '../support/mosquitto.ts';
import { Stage } from '../support/stage.ts';

const skip = mosquittoMissing() || commandMissing('openssl', ['version']);

describe('the example broker with TLS 1.3 and client certificates', { skip }, () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'slmd-tls-'));
    makeCertificates(dir, 'localhost', ['home', 'kitchen']);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const ready = async (t: { after(clean: () => Promise<void>): void }) => {
    const stage = new Stage(t);
    const { port } = stage.add(await startExampleBroker(dir));
    const url = `mqtts://localhost:${port}`;
    const requester = await stage.requester({ url, client: certificate(dir, 'home') });
    return { stage, port, url, requester };
  };

  test('a device with a certificate of its own answers, and may do so on its own topics alone', async (t) => {
    const { stage, url, requester } = await ready(t);
    const files = { ca_file: 'ca.pem', cert_file: 'kitchen.pem', key_file: 'kitchen.key' };
    const mqtt = Object.fromEntries(Object.entries(files).map(([name, file]) => [name, join(dir, file)]));
    stage.daemon({ url, settings: { mqtt } });
    await requester.ready();
    assert.equal((await requester.ask('echo hello')).text, 'hello');

    const device = await stage.requester({
      url,
      client: certificate(dir, 'kitchen'),
      filters: ['slmd/kitchen/#'],
    });
    const since = requester.heard.mark;
    await device.publish('slmd/cellar/prompt', 'x').catch(() => undefined);
    await device.publish('slmd/kitchen/event/x', 'x');
    await requester.on('slmd/kitchen/event/x', { since });
    assert.deepEqual(requester.messages('slmd/cellar/prompt'), []);
  });

  test('nobody gets in without a certificate, or with an older TLS', async (t) => {
    const { port } = await ready(t);
    const attempt = async (options: ConnectionOptions) => {
      const socket = connect({ host: 'localhost', port, ...options });
      // With TLS 1.3 the client is done before the server has looked at its certificate.
      const refused = once(socket, 'close').then(
        () => 'refused',
        () => 'refused',
      );
      socket.on('secureConnect', () => socket.write(connectPacket));
      const answered = once(socket, 'data').then(
        ([data]) => ((data as Buffer)[0] === 0x20 ? 'CONNACK' : 'other'),
        () => 'refused',
      );
      return Promise.race([refused, answered]).finally(() => socket.destroy());
    };
    const { ca } = certificate(dir, 'home');
    assert.equal(await attempt(certificate(dir, 'home')), 'CONNACK');
    assert.equal(await attempt({ ca }), 'refused');
    assert.equal(await attempt({ ...certificate(dir, 'home'), maxVersion: 'TLSv1.2' }), 'refused');
  });
});

/** CONNECT of MQTT 3.1.1, clean session, client id "a". Source: MQTT 3.1.1, section 3.1. */
const connectPacket = Buffer.from([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 1, 0x61]);
