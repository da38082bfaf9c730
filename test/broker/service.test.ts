import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { socatMissing, startNotifySocket } from '../support/notify-socket.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

test('a service is ready after broker and model, alive while it works, and says that it stops', {
  skip: socatMissing(),
}, async (t) => {
  const stage = new Stage(t);
  const NOTIFY_SOCKET = join(temporaryDir(t), 'notify');
  const { lines } = stage.add(await startNotifySocket(NOTIFY_SOCKET));
  const broker = stage.add(await startEmbeddedBroker());
  const proxy = stage.add(await startProxy(broker));
  proxy.refuse(true);
  const requester = await stage.requester({ url: broker.url, version: 4 });
  const service = { NOTIFY_SOCKET, WATCHDOG_USEC: '200000' };
  const daemon = stage.add(startDaemonProcess({ url: proxy.url, env: service }));
  const [, extension] = await lines.atLeast(
    2,
    (line) => line.startsWith('EXTEND_TIMEOUT_USEC='),
    'more time',
  );
  assert.ok(extension);
  await lines.find((line) => line.startsWith('STATUS=no broker'), 'no broker');
  assert.ok(!lines.all.includes('READY=1'));

  proxy.refuse(false);
  await lines.find((line) => line === 'READY=1', 'ready');
  await requester.ready();
  const id = await requester.send('slow 50');
  await requester.event(id, 'started');
  await lines.atLeast(3, (line) => line === 'WATCHDOG=1', 'heartbeats under way', { since: lines.mark });
  assert.equal((await requester.result(id)).status, 'ok');

  assert.equal(await daemon.kill('SIGTERM'), 0);
  await lines.find((line) => line === 'STOPPING=1', 'stopping');
  assert.equal(lines.all.filter((line) => line === 'READY=1').length, 1);
});
