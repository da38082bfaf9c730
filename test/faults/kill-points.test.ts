import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { killPoints } from '../support/kill-points.ts';
import { Trial } from '../support/trial.ts';

const prompts = 5;

describe('a device that is killed', { concurrency: true }, () => {
  onEachBroker('at each point of a prompt’s way', (kind) => {
    for (const point of killPoints)
      test(`[FAULT-1] [SLMD-PRO-1] [SLMD-PRO-2] when ${point.name}, it answers everything after its restart`, async (t) => {
        const trial = await Trial.open(t, kind);
        trial.start(point);
        await trial.requester.ready();
        await trial.send(prompts, 'slow 3');
        await trial.died();
        trial.start();
        await trial.end();
        assert.ok(trial.ledger.duplicates <= 1, `${trial.ledger.duplicates} duplicates after one kill`);
      });
  });
});
