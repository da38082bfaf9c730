import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Status } from '../../src/contract/status.ts';
import { onEachBroker } from '../support/brokers.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { fakeModel } from '../support/fake-engine.ts';
import { parsed } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';

onEachBroker('a device says what it is', (kind) => {
  const settings = { mqtt: { protocol: kind.protocol } };

  test('[SLMD-STA-1] [SLMD-STA-2] [SLMD-INF-1] [SLMD-HA-1] a birth is status, info and discovery, all retained', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.ready(kind, {
      settings: { engine: { threads: 2, speculation: false } },
    });
    const info = await requester.info();
    const order = requester.heard.all.map(({ topic }) => topic);
    assert.ok(order.indexOf('slmd/kitchen/status') < order.indexOf('slmd/kitchen/info'));

    const late = await stage.requester({ url: broker.url, version: kind.version });
    const status = await late.ready();
    assert.deepEqual(Object.keys(status), ['state', 'boot', 'birth', 'why']);
    assert.match(status.boot, /^[0-9a-f]{12}$/);
    assert.equal(status.why, null);
    assert.ok((await late.on('slmd/kitchen/info')).retain);
    assert.ok((await late.on('slmd/kitchen/status')).retain);

    assert.equal(info.boot, status.boot);
    assert.deepEqual([info.device, info.protocol], ['kitchen', kind.spoken]);
    assert.match(info.version, /^\d+\.\d+\.\d+/);
    assert.deepEqual(info.model, fakeModel);
    assert.deepEqual(info.bench, { prefill_tokens_per_second: 1000, decode_tokens_per_second: 100 });
    assert.deepEqual(info.engine, {
      name: 'fake',
      version: '1',
      backend: 'fake',
      backend_reason: null,
      threads: 2,
      spin_us: 0,
      chosen_by: 'setting',
      accuracy_level: 4,
      accuracy_level_chosen_by: 'graph',
      rows: 1,
      rows_chosen_by: 'setting',
      rows_gain: null,
      speculation: false,
      speculation_chosen_by: 'setting',
      draft_costs: null,
      load_ms: 2,
    });
    assert.deepEqual(Object.keys(info.limits), [
      'payload_bytes_max',
      'queue_depth_max',
      'queue_bytes_max',
      'deadline_default_ms',
    ]);
    assert.ok(info.features.includes('cancel') && info.board.cores > 0);
    assert.match(info.board.profile_chosen_by, /^(model|architecture)$/);
    assert.equal(info.board.profile_settings['limits.queue_depth_max'], info.limits.queue_depth_max);
    assert.ok(!('engine.threads' in info.board.profile_settings), 'the configuration sets them');

    const discovery = await late.on('homeassistant/device/slmd_kitchen/config');
    assert.ok(discovery.retain);
    const { dev, o, avty_t, cmps } = JSON.parse(discovery.payload.toString());
    assert.deepEqual([dev.ids, o.name, avty_t], [['slmd_kitchen'], 'slmd', 'slmd/kitchen/status']);
    for (const entity of Object.values<{ [key: string]: string }>(cmps)) {
      assert.match(entity.unique_id ?? '', /^slmd_kitchen_/);
      if (entity.p === 'notify') assert.equal(entity.cmd_t, 'slmd/kitchen/prompt');
      else assert.match(`${entity.p} ${entity.stat_t}`, /^sensor slmd\/kitchen\/(status|telemetry)$/);
    }
  });

  test('[SLMD-HA-1] without home_assistant.discovery nothing is said to Home Assistant', async (t) => {
    const { requester } = await new Stage(t).ready(kind, {
      settings: { home_assistant: { discovery: false } },
    });
    await requester.info();
    await requester.ask('echo hello');
    assert.ok(!requester.heard.all.some(({ topic }) => topic.startsWith('homeassistant/')));
  });

  test('[SLMD-STA-1] a device is subscribed before it says that it is there', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const answered = requester.status(() => true).then(() => requester.ask('echo hello'));
    stage.daemon({ url: broker.url, settings });
    assert.equal((await answered).text, 'hello');
  });

  test('[FAULT-15] [SLMD-STA-3] the broker says offline for a device that was killed, and ready again for the next', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const daemon = stage.add(startDaemonProcess({ url: broker.url, settings }));
    const { boot } = await requester.ready();
    await daemon.kill('SIGKILL');
    const will = await requester.status(({ state }) => state === 'offline');
    assert.deepEqual(will, { state: 'offline', boot, birth: 1, why: 'connection lost' });
    const late = await stage.requester({ url: broker.url, version: kind.version });
    assert.deepEqual(parsed(await late.on('slmd/kitchen/status')), will, 'the will is retained');

    const since = requester.heard.mark;
    stage.add(startDaemonProcess({ url: broker.url, settings }));
    const again = await requester.ready({ since });
    assert.notEqual(again.boot, boot, 'each process has a boot of its own');
  });

  test('[SLMD-STA-6] a will that comes later than the birth after it does not stay, and is no other device', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const killed = stage.add(startDaemonProcess({ url: broker.url, settings }));
    await requester.ready();
    let since = requester.heard.mark;
    await killed.kill('SIGKILL');
    const will = await requester.on('slmd/kitchen/status', { since });
    assert.equal(parsed<Status>(will).state, 'offline');

    since = requester.heard.mark;
    const daemon = stage.daemon({ url: broker.url, settings });
    const { boot } = await requester.ready({ since });
    const own = JSON.stringify({ state: 'offline', boot, birth: 1, why: 'connection lost' });
    for (const late of [will.payload, own]) {
      since = requester.heard.mark;
      await requester.publish('slmd/kitchen/status', late, { retain: true });
      await requester.ready({ since });
      const reader = await stage.requester({ url: broker.url, version: kind.version });
      assert.equal((await reader.ready()).boot, boot, 'what is retained is true');
    }
    assert.ok(!daemon.log.all.some(({ text }) => text.includes('duplicate_device')));
  });

  test('[FAULT-15] [SLMD-STA-3] [SLMD-STA-5] a device that is told to stop answers, then says offline, and ends with exit code 0', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const daemon = stage.add(startDaemonProcess({ url: broker.url, settings }));
    const { boot } = await requester.ready();
    const id = await requester.send('slow 20');
    await requester.event(id, 'started');
    assert.equal(await daemon.kill('SIGTERM'), 0);
    assert.equal((await requester.result(id)).status, 'ok');
    const said = requester.documents<Status>('slmd/kitchen/status').at(-1);
    assert.deepEqual(said, { state: 'offline', boot, birth: 1, why: 'stopped' });
    const topics = requester.heard.all.map(({ topic }) => topic);
    assert.ok(topics.lastIndexOf('slmd/kitchen/status') > topics.lastIndexOf(`slmd/kitchen/result/${id}`));
    const offlines = requester
      .documents<Status>('slmd/kitchen/status')
      .filter(({ state }) => state === 'offline');
    assert.equal(offlines.length, 1, 'the will is discarded');
  });
});
