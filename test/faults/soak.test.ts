import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { randomNumbers } from '../support/random.ts';
import { Trial } from '../support/trial.ts';
import { until } from '../support/wait.ts';

const seed = 14;
const prompts = 40;
const batch = 2;
const faultsMin = 12;
const faultsMax = 16;

describe('forty prompts under kills and cuts', { concurrency: true }, () => {
  onEachBroker('a device', (kind) => {
    test('[FAULT-2] [SLMD-PRO-2] answers each of them, the same bytes each time', async (t) => {
      const trial = await Trial.open(t, kind, { settings: { engine: { attempts_max: 10 } } });
      const faults = await underFaults(trial);
      await trial.end();
      assert.ok(faults >= faultsMin, `${faults} faults`);
      t.diagnostic(`${faults} faults, ${trial.ledger.duplicates} duplicates`);
    });

    test('[FAULT-2] the control without a journal loses prompts under the same faults', async (t) => {
      const trial = await Trial.open(t, kind, { naive: true });
      const faults = await underFaults(trial);
      // It works one after the other: when it answers this, it has answered what it ever will.
      await trial.ledger.answered(await trial.send(1, 'slow 1'));
      const { lost } = await trial.ledger.verdict();
      assert.ok(lost.length > 0, `${lost.length} of ${prompts} lost under ${faults} faults`);
      t.diagnostic(`${faults} faults, ${lost.length} of ${prompts} prompts lost`);
    });
  });
});

/**
 * Sends the prompts, a few at a time, while every few of their packets the device is killed or its network cut.
 * Resolves with the number of faults, when the device is back after the last.
 */
async function underFaults(trial: Trial): Promise<number> {
  const random = randomNumbers(seed);
  const gap = () => 4 + Math.floor(random() * 12);
  let faults = 0;
  let since = 0;
  let left = gap();
  let restarting = Promise.resolve();
  trial.start();
  await trial.requester.ready();
  trial.proxy.watch(({ topic }) => {
    if (trial.device.child.killed) return 'drop';
    if (!/\/(prompt|event|token|result)/.test(topic ?? '') || --left > 0 || faults === faultsMax)
      return undefined;
    left = gap();
    faults++;
    since = trial.requester.heard.mark;
    if (random() < 0.4) trial.proxy.cut();
    else restarting = restart(trial);
    return random() < 0.5 ? 'drop' : undefined;
  });
  for (let sent = 0; sent < prompts; sent += batch) {
    const before = faults;
    const ids = await trial.send(batch, 'slow 2');
    const over = () => faults > before || trial.ledger.unanswered(ids).length === 0;
    await until(() => over() || undefined, 'a fault, or an answer to each');
    for (let seen = -1; seen !== faults; ) {
      seen = faults;
      await restarting;
      if (faults > before) await trial.requester.ready({ since });
    }
  }
  trial.proxy.watch(() => undefined);
  return faults;
}

async function restart(trial: Trial): Promise<void> {
  await trial.device.kill('SIGKILL');
  trial.start();
}
