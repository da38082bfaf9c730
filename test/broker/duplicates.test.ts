import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';
import { inTime } from '../support/wait.ts';

/** How soon both must have noticed (fault case 14). */
const noticedMs = 5000;

onEachBroker('two devices with one name', (kind) => {
  test('[FAULT-14] [SLMD-DUP-1] [SLMD-DUP-2] both notice, neither fights, and no prompt is lost when one is stopped', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const settings = { mqtt: { protocol: kind.protocol, duplicate_wait_ms: 1000 } };
    const start = async () => {
      const proxy = stage.add(await startProxy(broker));
      return { proxy, daemon: stage.daemon({ url: proxy.url, settings }) };
    };
    const first = await start();
    await requester.ready();
    const since = requester.heard.mark;
    const second = await start();
    const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => requester.send(`slow ${i % 5}`)));

    for (const { daemon } of [first, second])
      await daemon.log.find(({ text }) => text.includes('duplicate_device'), 'it is noticed', {
        ms: noticedMs,
      });
    const degraded = await requester.status(({ state }) => state === 'degraded', { since });
    assert.match(degraded.why ?? '', /another device/);
    const { counters } = await requester.telemetry(({ counters }) => counters.duplicates_detected > 0);
    assert.equal(counters.duplicates_detected, 1);

    const connections = () => first.proxy.accepted + second.proxy.accepted;
    const [before, began] = [connections(), performance.now()];
    // Time enough for a fight.
    assert.equal((await requester.ask('slow 100')).status, 'ok');

    const alone = requester.heard.mark;
    await inTime(second.daemon.stop(), 'one of them stops');
    await requester.ready({ since: alone });
    for (const id of ids) assert.equal((await requester.result(id)).status, 'ok', id);
    assert.equal((await requester.ask('echo alone')).text, 'alone');
    // Each turn lasts half of its second at least; at the pace of reconnects it would be a tenth of it.
    const turns = 2 + (performance.now() - began) / 500;
    assert.ok(connections() - before <= turns, `${connections() - before} connections, ${turns} turns`);
  });

  test('[FAULT-14] [SLMD-DUP-1] [SLMD-DUP-3] with client ids of their own both are degraded, and stay so until one is stopped', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const start = (client_id: string) =>
      stage.daemon({
        url: broker.url,
        settings: { mqtt: { protocol: kind.protocol, client_id, duplicate_wait_ms: 1000 } },
      });
    const first = start('kitchen-a');
    await requester.ready();
    const since = requester.heard.mark;
    const second = start('kitchen-b');
    for (const { log } of [first, second])
      await log.find(({ text }) => text.includes('duplicate_device'), 'it is noticed', { ms: noticedMs });
    const degraded = requester.status(({ state }) => state === 'degraded', { since });
    const { boot: one, why } = await degraded;
    assert.match(why ?? '', /device, in its configuration/);
    const { boot: other } = await requester.status(
      ({ state, boot }) => state === 'degraded' && boot !== one,
      { since },
    );
    // Longer than either would remember the other if it heard no more of it.
    const known = requester.heard.mark;
    for (const boot of [one, other])
      for (let since = known, i = 0; i < 4; i++, since = requester.heard.mark)
        assert.equal((await requester.status((status) => status.boot === boot, { since })).state, 'degraded');

    const alone = requester.heard.mark;
    await inTime(second.stop(), 'one of them stops');
    await requester.ready({ since: alone });
    assert.ok(!first.log.all.some(({ text }) => text.includes('taken_over')));
  });

  test('[SLMD-DUP-1] a device that is restarted finds only its own past, however it ended', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const settings = { mqtt: { protocol: kind.protocol } };
    let since = 0;
    for (const crash of [true, false, false]) {
      const proxy = stage.add(await startProxy(broker));
      const daemon = stage.daemon({ url: proxy.url, settings });
      await requester.ready({ since });
      for (let i = 0; i < 2; i++) {
        since = requester.heard.mark;
        proxy.cut();
        await requester.ready({ since });
      }
      since = requester.heard.mark;
      if (crash) proxy.refuse(true);
      if (crash) proxy.cut();
      await daemon.stop();
      assert.ok(!daemon.log.all.some(({ text }) => text.includes('duplicate_device')));
    }
    assert.ok(
      !requester
        .documents<{ state: string }>('slmd/kitchen/status')
        .some(({ state }) => state === 'degraded'),
    );
  });

  test('[SLMD-DUP-1] a status of its own past that a broker brings up later is no other device', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const options = {
      url: broker.url,
      settings: { mqtt: { protocol: kind.protocol } },
      journal_dir: stage.directory(),
    };
    const boots: string[] = [];
    let daemon = stage.daemon(options);
    for (const last of [false, false, true]) {
      const ready = await requester.status(({ state, boot }) => state === 'ready' && !boots.includes(boot));
      boots.push(ready.boot);
      if (last) break;
      await daemon.stop();
      daemon = stage.daemon(options);
    }
    const bringUp = (boot: string | undefined) =>
      requester.publish(
        'slmd/kitchen/status',
        JSON.stringify({ state: 'offline', boot, birth: 9, why: 'connection lost' }),
      );
    const since = requester.heard.mark;
    await bringUp(boots[0]);
    // Its answer to being called offline: it has heard it.
    await requester.status(({ state, boot }) => state === 'ready' && boot === boots[2], { since });
    assert.ok(!daemon.log.all.some(({ text }) => text.includes('duplicate_device')));
    await bringUp('0123456789ab');
    await daemon.log.find(({ text }) => text.includes('duplicate_device'), 'another device is noticed');
  });

  test('[SLMD-STA-5] a device that stops while it waits to connect again still delivers what it has', async (t) => {
    const stage = new Stage(t);
    const broker = stage.add(await kind.start());
    const proxy = stage.add(await startProxy(broker));
    const requester = await stage.requester({ url: broker.url, version: kind.version });
    const wait = { reconnect_min_ms: 600_000, reconnect_max_ms: 600_000 };
    const daemon = stage.daemon({ url: proxy.url, settings: { mqtt: { protocol: kind.protocol, ...wait } } });
    await requester.ready();
    const id = await requester.send('slow 10');
    await requester.event(id, 'started');
    proxy.cut();
    await daemon.log.find(({ text }) => text.includes('retry_ms'), 'it waits');
    await inTime(daemon.stop(), 'the device stops');
    assert.equal((await requester.result(id)).status, 'ok');
    await requester.status(({ why }) => why === 'stopped');
  });
});
