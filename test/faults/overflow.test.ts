import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { describe, test } from 'node:test';
import type { Result } from '../../src/contract/result.ts';
import { type BrokerKind, onEachBroker } from '../support/brokers.ts';
import { journalFile } from '../support/journal.ts';
import { startMosquitto } from '../support/mosquitto.ts';
import { rssBytesOf } from '../support/processes.ts';
import { type Message, parsed } from '../support/requester.ts';
import { Trial } from '../support/trial.ts';
import { until } from '../support/wait.ts';

const many = 2000;
/** Mosquitto keeps so many for a client that is away, unless told otherwise, and drops the rest without a word. */
const keptByDefault = 1000;
const manyMs = 480_000;
/** Room for all of them from one requester, so that what is missing is the broker's doing. */
const roomy = {
  limits: { queue_depth_max: 2 * many, queue_bytes_max: 16_777_216 },
  journal: { results_kept_max: many + 1 },
};

describe('more than a device can take', { concurrency: true }, () => {
  onEachBroker(`${many} prompts for a device that is away`, (kind) => {
    test('[FAULT-8] [SLMD-RES-1] are all answered where the broker keeps them', async (t) => {
      const broker = await unlimited(kind);
      const trial = await Trial.open(t, kind, { settings: roomy, broker });
      await away(trial);
      await trial.send(many, 'echo');
      trial.start();
      await trial.ledger.answered(trial.ledger.ids, manyMs);
      await trial.end();
    });

    // aedes drops nothing.
    if (kind.name === 'aedes') return;
    test('[FAULT-8] [SLMD-ID-2] are all answered when they are sent again, where the broker drops some', async (t) => {
      const trial = await Trial.open(t, kind, { settings: roomy });
      await away(trial);
      const requests = Array.from({ length: many }, () => trial.ledger.request('echo'));
      await Promise.all(requests.map((request) => trial.requester.send(request)));
      trial.start();
      await trial.ledger.answered(trial.ledger.ids.slice(0, keptByDefault), manyMs);
      const missing = new Set(trial.ledger.unanswered());
      assert.ok(missing.size > many / 4, `${missing.size} are missing`);
      await Promise.all(requests.filter(({ id }) => missing.has(id)).map((one) => trial.requester.send(one)));
      await trial.ledger.answered(trial.ledger.ids, manyMs);
      await trial.end();
    });
  });

  onEachBroker('a burst that no queue has room for', (kind) => {
    // Fewer than Mosquitto keeps for a client, and several times the bytes that may stay.
    const burst = 900;
    const padding = 'x'.repeat(120_000);
    // Were its prompts kept, it would grow by more than they hold; what the collector is late with is less.
    const bytesMax = burst * padding.length;
    const settings = {
      // The one that runs does so until it is cancelled, however long the burst takes.
      generation: { max_tokens: null },
      limits: { queue_depth_max: 8 },
      journal: { bytes_max: 16_777_216 },
    };

    test('[FAULT-9] [SLMD-ERR-2] [SLMD-RES-1] is refused prompt by prompt, none in silence, in bounded memory and on a bounded disk', async (t) => {
      const trial = await Trial.open(t, kind, { settings });
      const { requester, ledger } = trial;
      const device = trial.start();
      await requester.ready();
      const [busy = ''] = await trial.send(1, 'slow 100000');
      await requester.event(busy, 'started');
      const before = rssBytesOf(device.pid)!;
      const ids = await trial.send(burst, `echo ${padding}`);
      // The ledger hears results alone: a requester that hears its own prompts again may be sent too much.
      const refused = () => ids.filter((id) => ledger.results(id).some(isQueueFull)).length;
      await until(() => refused() >= burst - 8 || undefined, 'the surplus is refused', manyMs);
      const grown = rssBytesOf(device.pid)! - before;
      t.diagnostic(`${grown} bytes more for ${burst * padding.length} bytes of prompts`);
      assert.ok(grown < bytesMax, `${grown} bytes more`);
      assert.ok(statSync(journalFile(trial.journal_dir)).size < 2_000_000);
      await requester.cancel(busy);
      const rest = ids.filter((id) => ledger.results(id).length === 0);
      assert.ok(rest.length <= 8);
      await ledger.answered([busy]);
      // The queue keeps a place for newcomers: the last of these may still be on the way to being refused.
      await until(
        () => rest.every((id) => ledger.results(id).length > 0) || undefined,
        'the rest is answered',
      );
      await device.kill('SIGTERM');
      const { lost, conflicting } = await ledger.verdict();
      assert.deepEqual({ lost, conflicting }, { lost: [], conflicting: [] });
    });

    test('[FAULT-9] [SLMD-ID-3] a refusal that did not come through goes with its connection, and is said once on the next', async (t) => {
      const trial = await Trial.open(t, kind);
      const { requester, proxy } = trial;
      trial.start();
      await requester.ready();
      let published = 0;
      const count = ({ topic }: { topic: string | null }) => Number(topic?.endsWith('/result/again'));
      const cuts = 4;
      for (let cut = 0; cut < cuts; cut++) {
        const since = requester.heard.mark;
        const lost = Promise.withResolvers<void>();
        proxy.watch(({ from, packet, topic }) => {
          if (from !== 'device' || packet.cmd !== 'publish' || count({ topic }) === 0) return undefined;
          lost.resolve();
          return 'drop';
        });
        if (cut === 0) await requester.send({ id: 'again', prompt: 'hi', tempature: 1 });
        await lost.promise;
        if (cut === cuts - 1)
          proxy.watch(({ from, packet, topic }) => {
            if (from === 'device' && packet.cmd === 'publish') published += count({ topic });
            return undefined;
          });
        proxy.cut();
        await requester.ready({ since });
      }
      assert.equal((await requester.result('again')).error?.code, 'unknown_field');
      // What was sent before this is answered before it.
      assert.equal((await requester.ask('echo hello')).text, 'hello');
      assert.equal(published, 1);
      assert.equal(await trial.device.kill('SIGTERM'), 0);
    });
  });
});

async function unlimited(kind: BrokerKind) {
  return kind.name === 'aedes' ? kind.start() : startMosquitto({ config: 'max_queued_messages 0' });
}

/** The broker knows the device, and it is not there. */
async function away(trial: Trial): Promise<void> {
  const device = trial.start();
  await trial.requester.ready();
  await device.kill('SIGTERM');
  await until(() => device.child.exitCode === 0 || undefined, 'it is away');
}

function isQueueFull(result: Message): boolean {
  return parsed<Result>(result).error?.code === 'queue_full';
}
