import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { serviceManager } from '../../src/lib/service-manager.ts';
import { socatMissing, startNotifySocket } from '../support/notify-socket.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

const nowhere = { NOTIFY_SOCKET: '/nowhere/notify' };

test('a process that no service manager has started has none', () => {
  assert.equal(serviceManager({}), null);
  assert.equal(serviceManager({ NOTIFY_SOCKET: '', WATCHDOG_USEC: '1000' }), null);
});

test('a watchdog counts where it is this process’s, and in milliseconds', () => {
  const watchdog = (env: object) => serviceManager({ ...nowhere, ...env })?.watchdog_ms;
  assert.equal(watchdog({}), null);
  assert.equal(watchdog({ WATCHDOG_USEC: '60000000' }), 60_000);
  assert.equal(watchdog({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: String(process.pid) }), 60_000);
  assert.equal(watchdog({ WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' }), null);
  for (const WATCHDOG_USEC of ['0', '', 'x']) assert.equal(watchdog({ WATCHDOG_USEC }), null);
});

test('an address that is none is refused, and one where nobody listens is told as not delivered', () => {
  for (const NOTIFY_SOCKET of ['relative', `/${'x'.repeat(108)}`])
    assert.throws(() => serviceManager({ NOTIFY_SOCKET }));
  assert.equal(serviceManager(nowhere)?.notify('READY=1\n'), false);
});

test('each message is one datagram at a path or in the abstract space', {
  skip: socatMissing(),
}, async (t) => {
  const stage = new Stage(t);
  for (const NOTIFY_SOCKET of [join(temporaryDir(t), 'notify'), `@slmd-test-${process.pid}`]) {
    const socket = stage.add(await startNotifySocket(NOTIFY_SOCKET));
    const manager = serviceManager({ NOTIFY_SOCKET });
    assert.equal(manager?.notify('READY=1\nSTATUS=schön\n'), true);
    assert.equal(manager?.notify('WATCHDOG=1\n'), true);
    await socket.lines.find((line) => line === 'WATCHDOG=1', 'the last line');
    assert.deepEqual(socket.lines.all, ['READY=1', 'STATUS=schön', 'WATCHDOG=1']);
  }
});
