import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { parsed } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

describe('two devices and one requester', { concurrency: true }, () => {
  onEachBroker('of which one dies for good', (kind) => {
    test('[FAULT-21] the other answers what is sent to it under the same ids, and a late answer changes nothing', async (t) => {
      const stage = new Stage(t);
      const { broker, requester } = await stage.broker(kind);
      const journal_dir = temporaryDir(t);
      const device = (name: string, more: { journal_dir?: string } = {}) => {
        const settings = { device: name, mqtt: { protocol: kind.protocol } };
        return stage.add(startDaemonProcess({ url: broker.url, settings, ...more }));
      };
      const kitchen = device('kitchen', { journal_dir });
      const cellar = await stage.requester({ url: broker.url, version: kind.version, device: 'cellar' });
      device('cellar');
      await Promise.all([requester.ready(), cellar.ready()]);
      const ids = await Promise.all(['slow 40', 'echo 1', 'echo 2'].map((one) => requester.send(one)));
      await requester.event(ids[0] ?? '', 'started');
      await Promise.all(ids.map((id) => requester.event(id, 'accepted')));
      await kitchen.kill('SIGKILL');

      // The first result of an id wins, whichever device it is from.
      const first = new Map<string, string>();
      cellar.heard.each((message) => {
        if (!/\/result\//.test(message.topic) || message.payload.length === 0) return;
        const { id, device, status } = parsed<{ id: string; device: string; status: string }>(message);
        if (!first.has(id)) first.set(id, `${device} ${status}`);
      });
      await requester.status(({ state }) => state === 'offline');
      for (const id of ids) await cellar.send({ id, prompt: `echo of ${id}` });
      await Promise.all(ids.map((id) => cellar.result(id)));
      // The dead one comes back after all, and keeps its own promise.
      device('kitchen', { journal_dir });
      await Promise.all(ids.map((id) => requester.result(id)));
      assert.deepEqual(
        ids.map((id) => first.get(id)),
        ids.map(() => 'cellar ok'),
      );
    });
  });
});
