import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { type BrokerKind, onEachBroker, type RunningBroker } from '../support/brokers.ts';
import { FaultyStorage } from '../support/faulty-storage.ts';
import { type Mosquitto, startMosquitto } from '../support/mosquitto.ts';
import { startProxy } from '../support/proxy.ts';
import type { Message } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';
import { Trial } from '../support/trial.ts';
import { until } from '../support/wait.ts';

/** A broker that can go and come back on its port. */
interface Restartable extends RunningBroker {
  end(how: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  begin(): Promise<void>;
  /** Resolves when it would know after a SIGKILL what it knows now. */
  saved(): Promise<void>;
}

/** What Mosquitto remembers depends on its configuration and its end; aedes keeps nothing. */
const restarts = [
  { ends: 'SIGTERM, with persistence', config: 'persistence true', remembers: true, aedes: false },
  {
    ends: 'SIGKILL, saved each second',
    config: 'persistence true\nautosave_interval 1',
    remembers: true,
    aedes: false,
  },
  { ends: 'SIGKILL, without memory', config: '', remembers: false, aedes: true },
];

const headroom = 8;

/** Everything, or what it has acknowledged since it wrote its file; the session is in the file. */
const forgetful = [
  { forgets: 'everything', config: '' },
  { forgets: 'the last of it', config: 'persistence true\nautosave_interval 3600' },
];

describe('a broker that goes and comes back', { concurrency: true }, () => {
  onEachBroker('a device', (kind) => {
    for (const { ends, config, remembers } of restarts.filter(({ aedes }) => aedes || kind.name !== 'aedes'))
      test(`[FAULT-6] [FAULT-15] [SLMD-RES-7] [SLMD-RES-8] is ready again and leaves every result for a late requester: ${ends}`, async (t) => {
        const broker = await restartable(kind, config);
        const trial = await Trial.open(t, kind, { broker });
        const { requester, ledger, proxy } = trial;
        const device = trial.start();
        await requester.ready();
        const ids = await trial.send(3, 'slow 5');
        await requester.event(ids[0] ?? '', 'started');
        proxy.refuse(true);
        proxy.cut();
        // The broker keeps these for a device that is away.
        const kept = await trial.send(2, 'slow 1');
        await broker.saved();
        await broker.end(ends.startsWith('SIGTERM') ? 'SIGTERM' : 'SIGKILL');
        await device.log.atLeast(ids.length, ({ text }) => text.includes('"ended"'), 'each is answered');
        await requester.close();
        await broker.begin();
        proxy.refuse(false);
        const delivered = () => ids.every((id) => ledger.delivered(id)) || undefined;
        await until(delivered, 'the results are on the broker before anybody asks');
        const late = await trial.stage.requester({ url: broker.url, version: kind.version });
        for (const id of ids) assert.equal((await late.result(id)).status, 'ok');
        await late.ready();
        if (!remembers) for (const id of kept) await late.send({ id, prompt: `slow 1 ${id}` });
        await trial.end();
      });

    for (const { forgets, config } of forgetful.filter(
      ({ config }) => config === '' || kind.name !== 'aedes',
    ))
      test(`[FAULT-6] [SLMD-RES-10] gives a broker the results again that it has lost, unasked, but none that was acknowledged: ${forgets}`, async (t) => {
        const broker = await restartable(kind, config);
        const trial = await Trial.open(t, kind, { broker });
        const { requester } = trial;
        trial.start();
        await requester.ready();
        if (config !== '') await again(trial, broker, 'SIGTERM');
        const ids = await trial.send(3, 'echo');
        await trial.ledger.answered(ids);
        await until(() => ids.every((id) => trial.ledger.delivered(id)) || undefined, 'each is delivered');
        const [acknowledged = '', ...others] = ids;
        await requester.ack(acknowledged);
        const empty = ({ topic, payload }: Message) =>
          topic.endsWith(`/result/${acknowledged}`) && payload.length === 0;
        await requester.heard.find(empty, 'it is taken back');
        await again(trial, broker, 'SIGKILL');
        const late = await trial.stage.requester({ url: broker.url, version: kind.version });
        for (const id of others) assert.equal((await late.result(id)).status, 'ok');
        // What is given again comes in the order in which it was given before.
        assert.deepEqual(late.messages(`${late.base}/result/${acknowledged}`), []);
      });

    test('[FAULT-4] [SLMD-PRO-1] acknowledges nothing on a new connection that an old one has brought', async (t) => {
      const stage = new Stage(t);
      const broker = stage.add(await restartable(kind));
      const proxy = stage.add(await startProxy(broker));
      const requester = await stage.requester({ url: broker.url, version: kind.version });
      const storage = new FaultyStorage();
      stage.daemon({ url: proxy.url, storage, settings: { mqtt: { protocol: kind.protocol } } });
      stage.add(storage);
      await requester.ready();
      const brought: (number | undefined)[] = [];
      const acknowledged: (number | undefined)[] = [];
      proxy.watch(({ packet, topic }) => {
        if (!topic?.endsWith('/prompt')) return undefined;
        (packet.cmd === 'puback' ? acknowledged : brought).push(packet.messageId);
        return undefined;
      });
      // So that the old one's identifier is above those of the status and the probe on the next connection.
      for (let i = 0; i < headroom; i++) await requester.cancel('nobody');
      await requester.echo();
      storage.slow = true;
      const old = await requester.send('echo old');
      await until(() => storage.held === 1 || undefined, 'a prompt is on its way to the disk');
      const since = requester.heard.mark;
      await broker.end('SIGKILL');
      await broker.begin();
      await requester.ready({ since });
      // The packet identifiers of a broker without memory start over; those of aedes start anywhere.
      const fresh: string[] = [];
      do {
        fresh.push(await requester.send('echo fresh'));
        await until(() => brought.length === 1 + fresh.length || undefined, 'another one has come');
      } while (kind.name !== 'aedes' && (brought.at(-1) ?? 0) < (brought[0] ?? 0));
      if (kind.name !== 'aedes') assert.equal(brought.at(-1), brought[0]);
      storage.release();
      await requester.event(old, 'accepted');
      await requester.echo();
      assert.deepEqual(acknowledged, [], 'the fresh ones are not on disk yet');
      await until(() => storage.held === 1 || undefined, 'the next lines are on their way');
      storage.slow = false;
      storage.release();
      for (const id of [old, ...fresh]) assert.equal((await requester.result(id)).status, 'ok');
      await until(() => acknowledged.length === fresh.length || undefined, 'the fresh ones are acknowledged');
      assert.deepEqual([acknowledged, proxy.strayAcks], [brought.slice(1), []]);
    });
  });

  onEachBroker('a copy of a result', (kind) => {
    // MQTT 3.1.1 has no Response Topic.
    if (kind.version === 4) return;
    test('[FAULT-6] [SLMD-MQTT-1] that nobody heard is sent again when its requester is back', async (t) => {
      const broker = await restartable(kind);
      const trial = await Trial.open(t, kind, { broker });
      const device = trial.start();
      await trial.requester.ready();
      const request = trial.ledger.request('slow 5');
      const properties = { responseTopic: 'slmd/kitchen/response/x', correlationData: Buffer.from('c') };
      await trial.requester.send(request, { properties });
      await trial.requester.event(request.id, 'started');
      await trial.requester.close();
      await broker.end('SIGKILL');
      await device.log.find(({ text }) => text.includes('"ended"'), 'it is answered');
      await broker.begin();
      await trial.ledger.answered();
      const late = await trial.stage.requester({ url: broker.url, filters: ['slmd/kitchen/response/#'] });
      const { correlation } = await late.on('slmd/kitchen/response/x');
      assert.equal(String(correlation), 'c');
      await until(() => trial.ledger.delivered(request.id) || undefined, 'it counts as delivered');
      await trial.end();
    });
  });
});

/** The broker ends and comes back, and the device is ready on it again. */
async function again({ requester }: Trial, broker: Restartable, how: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const since = requester.heard.mark;
  await broker.end(how);
  await broker.begin();
  await requester.ready({ since });
}

async function restartable(kind: BrokerKind, config = ''): Promise<Restartable> {
  if (kind.name === 'aedes') return restartableAedes();
  const mosquitto: Mosquitto = await startMosquitto({ config });
  return {
    ...mosquitto,
    end: (how) => mosquitto.kill(how),
    begin: () => mosquitto.start(),
    saved: () => (config.includes('autosave') ? mosquitto.saved() : Promise.resolve()),
  };
}

async function restartableAedes(): Promise<Restartable> {
  let broker = await startEmbeddedBroker();
  const { url, port } = broker;
  return {
    url,
    port,
    end: () => broker.stop(),
    begin: async () => {
      broker = await startEmbeddedBroker(port);
    },
    saved: () => Promise.resolve(),
    stop: () => broker.stop(),
  };
}
