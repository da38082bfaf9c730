import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { onEachBroker } from '../support/brokers.ts';
import { type Fault, FaultyStorage } from '../support/faulty-storage.ts';
import { journalFile } from '../support/journal.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';
import { Trial } from '../support/trial.ts';

const faults: Fault[] = [
  { on: 'write', code: 'ENOSPC' },
  { on: 'datasync', code: 'EIO' },
];

describe('a disk that fails', { concurrency: true }, () => {
  onEachBroker('under a device', (kind) => {
    for (const fault of faults)
      test(`[FAULT-16] [SLMD-PRO-1] [SLMD-PRO-4] with ${fault.code}: prompts are refused, what was accepted is answered when it works again`, async (t) => {
        const stage = new Stage(t);
        const broker = stage.add(await kind.start());
        const proxy = stage.add(await startProxy(broker));
        const requester = await stage.requester({ url: broker.url, version: kind.version });
        const storage = new FaultyStorage();
        stage.daemon({ url: proxy.url, storage, settings: { mqtt: { protocol: kind.protocol } } });
        await requester.ready();
        const accepted = await requester.send('slow 5');
        await requester.event(accepted, 'started');
        storage.faults = [fault];
        const before: string[] = [];
        proxy.watch(({ from, packet, topic }) => {
          if (from === 'device' && /\/(prompt|result\/refused)$/.test(topic ?? ''))
            before.push(`${packet.cmd} ${topic?.split('/')[2]}`);
          return undefined;
        });
        await requester.send({ id: 'refused', prompt: 'echo hi' });
        const { status, error } = await requester.result('refused');
        assert.deepEqual([status, error?.code, error?.retryable], ['rejected', 'storage_full', true]);
        const { why } = await requester.status(({ state }) => state === 'degraded');
        assert.match(why ?? '', /journal.*(ENOSPC|EIO)/);
        assert.equal(before[0], 'publish result', 'no acknowledgement without a record or a refusal');
        assert.deepEqual(requester.messages(`slmd/kitchen/result/${accepted}`), []);

        const since = requester.heard.mark;
        storage.faults = [];
        await requester.ready({ since });
        assert.equal((await requester.result(accepted)).status, 'ok');
        // A refusal is not remembered.
        await requester.send({ id: 'refused', prompt: 'echo hi' });
        assert.equal((await requester.result('refused', { since })).text, 'hi');
      });

    test('[FAULT-16] [SLMD-PRO-4] that cannot be written when the device starts: it is there, says why, and works when the disk does', async (t) => {
      const stage = new Stage(t);
      const broker = stage.add(await kind.start());
      const requester = await stage.requester({ url: broker.url, version: kind.version });
      const storage = new FaultyStorage();
      storage.faults = [{ on: 'lock', code: 'EROFS' }];
      stage.daemon({ url: broker.url, storage, settings: { mqtt: { protocol: kind.protocol } } });
      const { why } = await requester.status(({ state }) => state === 'degraded');
      assert.match(why ?? '', /journal.*EROFS/);
      assert.equal((await requester.ask('echo hi')).error?.code, 'storage_full');
      storage.faults = [];
      await requester.ready();
      assert.equal((await requester.ask('echo hi')).text, 'hi');
    });
  });
});

// What the disk holds at the start is read before any broker is there.
test('[FAULT-16] a journal with garbage in it and half a line at its end is read, said to be so, and gone on with', async (t) => {
  const broker = await startEmbeddedBroker();
  const kind = { name: 'aedes', protocol: 'auto', spoken: '3.1.1', version: 4 } as const;
  const trial = await Trial.open(t, { ...kind, start: async () => broker });
  trial.start();
  await trial.requester.ready();
  const ids = await trial.send(3, 'slow 20');
  await trial.requester.event(ids[0] ?? '', 'started');
  for (const id of ids) await trial.requester.event(id, 'accepted');
  await trial.device.kill('SIGKILL');
  appendFileSync(journalFile(trial.journal_dir), '\0\0\0 garbage\n1234abcd {"kind":"delivered","id":"half');
  const device = trial.start();
  await device.log.find(({ text }) => /"torn_bytes":\d.*"damaged_lines":1/.test(text), 'it says so');
  await trial.end();
});
