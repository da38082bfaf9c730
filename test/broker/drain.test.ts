import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { Stage } from '../support/stage.ts';
import { inTime } from '../support/wait.ts';

onEachBroker('a device that stops', (kind) => {
  test('[SLMD-STA-5] answers what it has, and takes nothing new', async (t) => {
    const { requester, daemon } = await new Stage(t).ready(kind);
    const running = await requester.send('slow 30');
    await requester.event(running, 'started');
    const waiting = await requester.send('echo waited');
    await requester.event(waiting, 'accepted');
    const stopped = daemon.stop();
    await requester.status(({ state }) => state === 'draining');
    const { status, error } = await requester.ask('echo too late');
    assert.deepEqual([status, error?.code, error?.retryable], ['rejected', 'draining', true]);
    assert.equal((await requester.result(running)).status, 'ok');
    assert.equal((await requester.result(waiting)).text, 'waited');
    await inTime(stopped, 'the daemon stops');
    await requester.status(({ state, why }) => state === 'offline' && why === 'stopped');
  });

  test('[SLMD-STA-5] ends with the code draining what it cannot answer in time', async (t) => {
    const { requester, daemon } = await new Stage(t).ready(kind, { settings: { limits: { drain_ms: 200 } } });
    const running = await requester.send('slow 3000');
    await requester.on(`slmd/kitchen/token/${running}`);
    const waiting = await requester.send('echo never');
    await requester.event(waiting, 'accepted');
    await inTime(daemon.stop(), 'the daemon stops');
    const cut = await requester.result(running);
    assert.deepEqual([cut.status, cut.error?.code], ['error', 'draining']);
    assert.match(cut.text, /^t0 /);
    const never = await requester.result(waiting);
    assert.deepEqual([never.status, never.error?.code, never.attempt], ['error', 'draining', 0]);
  });
});
