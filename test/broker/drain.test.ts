import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';
import { Heard, inTime } from '../support/wait.ts';
import type { Passing } from '../support/wire.ts';

onEachBroker('a device that stops', (kind) => {
  test('[SLMD-STA-5] answers what it has, and refuses what the broker does not keep for it', async (t) => {
    const { requester, daemon } = await new Stage(t).ready(kind);
    const running = await requester.send('slow 30');
    await requester.event(running, 'started');
    const waiting = await requester.send('echo waited');
    await requester.event(waiting, 'accepted');
    const stopped = daemon.stop();
    await requester.status(({ state }) => state === 'draining');
    const { status, error } = await requester.ask('echo too late', { qos: 0 });
    assert.deepEqual([status, error?.code, error?.retryable], ['rejected', 'draining', true]);
    assert.equal((await requester.result(running)).status, 'ok');
    assert.equal((await requester.result(waiting)).text, 'waited');
    await inTime(stopped, 'the daemon stops');
    await requester.status(({ state, why }) => state === 'offline' && why === 'stopped');
  });

  test('[SLMD-STA-5] without a session it refuses whatever comes', async (t) => {
    const { requester, daemon } = await new Stage(t).ready(kind, {
      settings: { mqtt: { session_expiry_s: 0 } },
    });
    await requester.event(await requester.send('slow 30'), 'started');
    const stopped = daemon.stop();
    await requester.status(({ state }) => state === 'draining');
    assert.equal((await requester.ask('echo too late')).error?.code, 'draining');
    await inTime(stopped, 'the daemon stops');
  });

  test('[SLMD-STA-5] leaves what the broker keeps for it to the next process, which answers it', async (t) => {
    const stage = new Stage(t);
    const journal_dir = temporaryDir(t);
    const { requester, daemon, broker } = await stage.ready(kind, { journal_dir });
    const running = await requester.send('slow 30');
    await requester.event(running, 'started');
    const stopped = daemon.stop();
    await requester.status(({ state }) => state === 'draining');
    // More than the broker has under way to it at once.
    const late = await Promise.all(Array.from({ length: 40 }, (_, i) => requester.send(`echo ${i}`)));
    assert.equal((await requester.result(running)).status, 'ok');
    await inTime(stopped, 'the daemon stops');
    assert.deepEqual(
      late.flatMap((id) => requester.messages(`slmd/kitchen/result/${id}`)),
      [],
    );

    stage.daemon({ url: broker.url, journal_dir, settings: { mqtt: { protocol: kind.protocol } } });
    const results = await Promise.all(late.map((id) => requester.result(id)));
    assert.deepEqual(
      results.map(({ status, text }) => [status, text]),
      late.map((_, i) => ['ok', String(i)]),
    );
  });

  test('[SLMD-STA-5] a prompt that reaches it while it drains is not acknowledged, comes again to the next process, and has one answer', async (t) => {
    const stage = new Stage(t);
    const journal_dir = temporaryDir(t);
    const broker = stage.add(await kind.start());
    const proxy = stage.add(await startProxy(broker));
    const passed = new Heard<Passing>();
    proxy.watch((passing) => {
      passed.push(passing);
      return undefined;
    });
    const settings = { mqtt: { protocol: kind.protocol }, limits: { drain_ms: 60_000 } };
    const device = { url: proxy.url, journal_dir, settings };
    const older = stage.daemon(device);
    const requester = await stage.requester({ url: broker.url, version: kind.version });
    await requester.ready();
    // Under way until it is cancelled: so long the device drains.
    const running = await requester.send('slow 100000');
    await requester.event(running, 'started');
    const stopped = older.stop();
    await requester.status(({ state }) => state === 'draining');

    const late = await requester.send({ id: 'late', prompt: 'echo at last' });
    const deliveries = (count: number) =>
      passed.atLeast(count, isPromptOf(late), `the prompt is delivered ${count} times`);
    const [first] = await deliveries(1);
    await requester.cancel(running);
    assert.equal((await requester.result(running)).status, 'cancelled');
    await inTime(stopped, 'the daemon stops');
    assert.deepEqual(passed.all.filter(isAnswerTo(first)), [], 'the older process does not acknowledge it');

    stage.daemon(device);
    assert.equal((await requester.result(late)).text, 'at last');
    const [, second] = await deliveries(2);
    assert.ok(second !== undefined && second.connection !== first?.connection);
    await passed.find(isAnswerTo(second), 'the next process acknowledges it');
    assert.equal(requester.messages(`slmd/kitchen/result/${late}`).length, 1);
  });

  test('[SLMD-STA-5] leaves what it cannot answer in time to the next process, which answers it', async (t) => {
    const stage = new Stage(t);
    const journal_dir = temporaryDir(t);
    const { requester, daemon, broker } = await stage.ready(kind, {
      journal_dir,
      settings: { limits: { drain_ms: 200 } },
    });
    const running = await requester.send('slow 100');
    await requester.event(running, 'started');
    const waiting = await requester.send('echo at last');
    await requester.event(waiting, 'accepted');
    await inTime(daemon.stop(), 'the daemon stops');
    assert.ok(!requester.heard.all.some(({ topic }) => topic.includes('/result/')));

    stage.daemon({ url: broker.url, journal_dir, settings: { mqtt: { protocol: kind.protocol } } });
    const [cut, waited] = await Promise.all([requester.result(running), requester.result(waiting)]);
    // An interruption in good order is no attempt that failed.
    assert.deepEqual([cut.status, cut.attempt], ['ok', 1]);
    assert.deepEqual([waited.status, waited.text], ['ok', 'at last']);
  });
});

/** Whether a packet brings the device the prompt of that id. */
function isPromptOf(id: string) {
  return ({ from, packet }: Passing) =>
    from === 'broker' &&
    packet.cmd === 'publish' &&
    packet.payload.includes(`"id":"${id}"`) &&
    packet.topic.endsWith('/prompt');
}

/** Whether a packet is the device's acknowledgement of that one. */
function isAnswerTo(delivery: Passing | undefined) {
  return ({ connection, from, packet }: Passing) =>
    from === 'device' &&
    packet.cmd === 'puback' &&
    connection === delivery?.connection &&
    packet.messageId === delivery.packet.messageId;
}
