import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { Stage } from '../support/stage.ts';

onEachBroker('a prompt with a deadline', (kind) => {
  test('[FAULT-18] [SLMD-RES-5] that passes in the queue ends without any work', async (t) => {
    const { requester } = await new Stage(t).ready(kind);
    const running = await requester.send('slow 100000');
    await requester.event(running, 'started');
    const { status, error, attempt, timings } = await requester.ask({ prompt: 'echo late', deadline_ms: 60 });
    assert.deepEqual([status, error?.code, attempt, timings], ['expired', 'expired', 0, null]);
    assert.deepEqual(requester.messages(`slmd/kitchen/result/${running}`), []);
  });

  test('[SLMD-RES-5] that passes under way ends with the text there was', async (t) => {
    const { requester } = await new Stage(t).ready(kind);
    const { status, text, timings } = await requester.ask({ prompt: 'slow 400', deadline_ms: 300 });
    assert.equal(status, 'expired');
    assert.match(text, /^t0 /);
    assert.ok((timings?.total_ms ?? 0) >= 250);
  });

  test('[SLMD-ADM-4] [SLMD-EVT-1] that the queue leaves no time for is refused before any work', async (t) => {
    const { requester } = await new Stage(t).ready(kind);
    for (let i = 0; i < 3; i++) await requester.ask('slow 20');
    const waiting: string[] = [];
    for (let i = 0; i < 6; i++) waiting.push(await requester.send('slow 20'));
    const late = await requester.ask({ prompt: 'slow 20', deadline_ms: 1500 });
    assert.deepEqual(
      [late.status, late.error?.code, late.error?.retryable, late.attempt],
      ['rejected', 'deadline_unmeetable', true, 0],
    );
    assert.ok((late.error?.retry_after_ms ?? 0) > 0);
    assert.deepEqual(requester.events(late.id), []);
    const patient = await requester.send({ prompt: 'slow 20', deadline_ms: 600_000 });
    for (const id of [...waiting, patient]) assert.equal((await requester.result(id)).status, 'ok');
    const etas = waiting
      .map((id) => requester.events(id)[0])
      .map((event) => event && 'eta_ms' in event && event.eta_ms);
    for (const [i, eta] of etas.entries()) assert.ok(Number(eta) >= 350 * Math.max(1, i), `${i}: ${eta}`);
  });
});
