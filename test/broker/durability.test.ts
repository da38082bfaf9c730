import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { onEachBroker } from '../support/brokers.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { journalFile, journalOptions, openJournal, promptOf } from '../support/journal.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/wait.ts';

onEachBroker('a device that is killed', (kind) => {
  test('[SLMD-PRO-1] [SLMD-PRO-2] answers after its restart what it had accepted, each prompt once', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const settings = { mqtt: { protocol: kind.protocol } };
    const options = { url: broker.url, settings, journal_dir: temporaryDir(t) };
    const first = stage.add(startDaemonProcess(options));
    await requester.ready();
    const done = (await requester.ask('echo before')).id;
    const running = await requester.send('slow 100');
    await requester.event(running, 'started');
    const waiting = await requester.send('echo waited');
    await requester.event(waiting, 'accepted');
    await first.kill('SIGKILL');
    const away = await requester.send('echo while away');

    stage.add(startDaemonProcess(options));
    const results = await Promise.all([running, waiting, away].map((id) => requester.result(id)));
    assert.deepEqual(
      results.map(({ status, attempt }) => [status, attempt]),
      [
        ['ok', 2],
        ['ok', 1],
        ['ok', 1],
      ],
    );
    // A result of before the kill is remembered too: the same bytes again.
    const since = requester.heard.mark;
    await requester.send({ id: done, prompt: 'echo something else' });
    assert.equal((await requester.result(done, { since })).text, 'before');
    for (const id of [done, running, waiting, away]) {
      const bytes = requester.heard.all
        .filter(({ topic }) => topic === `slmd/kitchen/result/${id}`)
        .map(({ payload }) => payload.toString());
      assert.equal(new Set(bytes).size, 1, id);
    }
  });

  test('[SLMD-RES-8] has left its result on the broker for whoever comes later, until it is acknowledged', async (t) => {
    const stage = new Stage(t);
    const { requester, broker } = await stage.ready(kind);
    const { id } = await requester.ask('echo kept');
    const late = await stage.requester({ url: broker.url, version: kind.version });
    assert.equal((await late.result(id)).text, 'kept');
    await requester.publish('slmd/kitchen/ack', JSON.stringify({ id }));
    await late.heard.find(
      ({ topic, payload }) => topic.endsWith(id) && payload.length === 0,
      'it is taken back',
    );
    const later = await stage.requester({ url: broker.url, version: kind.version });
    await later.status(({ state }) => state === 'ready');
    assert.ok(!later.heard.all.some(({ topic }) => topic.endsWith(`/result/${id}`)));
  });
});

test('[FAULT-17] [SLMD-PRO-3] a prompt that takes the whole device down is given up after three attempts', async (t) => {
  const stage = new Stage(t);
  const broker = stage.add(await startEmbeddedBroker());
  const requester = await stage.requester({ url: broker.url, version: 4 });
  const options = { url: broker.url, journal_dir: temporaryDir(t) };
  let id = '';
  for (const attempt of [1, 2, 3]) {
    const daemon = stage.add(startDaemonProcess(options));
    if (id === '') {
      await requester.ready();
      id = await requester.send('hang');
    }
    // The event of an attempt may find no connection yet; the journal has it in any case.
    const journal = journalFile(options.journal_dir);
    const begun = () =>
      existsSync(journal) && readFileSync(journal, 'utf8').includes(`"id":"${id}","attempt":${attempt}`);
    await until(() => begun() || undefined, `attempt ${attempt} begins`);
    await daemon.kill('SIGKILL');
  }
  stage.add(startDaemonProcess(options));
  const { status, error, attempt } = await requester.result(id);
  assert.deepEqual([status, error?.code, attempt], ['error', 'engine_crashed', 3]);
});

for (const [kills, code] of [
  [4, 'engine_crashed'],
  [5, 'out_of_memory'],
] as const)
  test(`[SLMD-PRO-3] a prompt that is given up ends with ${code} where the kernel counted ${kills - 4} kills for memory since its last attempt`, async (t) => {
    const stage = new Stage(t);
    const { url } = stage.add(await startEmbeddedBroker());
    const requester = await stage.requester({ url, version: 4 });
    const journal_dir = temporaryDir(t);
    const earlier = await openJournal(t, journalOptions(journal_dir, { oomKills: () => 4 }));
    await earlier.accept(promptOf('fatal'));
    for (const attempt of [1, 2, 3]) await earlier.started('fatal', attempt);
    await earlier.stop();
    stage.daemon({ url, journal_dir, oomKills: () => kills });
    const { status, error, attempt } = await requester.result('fatal');
    assert.deepEqual([status, error?.code, attempt], ['error', code, 3]);
    assert.equal((await requester.ask('echo after')).text, 'after');
  });
