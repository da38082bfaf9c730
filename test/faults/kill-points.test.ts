import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { journalFile } from '../support/journal.ts';
import { killPoints } from '../support/kill-points.ts';
import { readLives } from '../support/lives.ts';
import { Trial } from '../support/trial.ts';

const prompts = 5;

/**
 * Only a result whose delivery is not on disk comes again. On a quiet machine that is one; on a busy one the
 * disk may be behind by as many results as are under way at once.
 */
function undelivered(journal_dir: string): number {
  if (!existsSync(journalFile(journal_dir))) return 0;
  return [...readLives(journal_dir).values()].filter(
    ({ results, delivered }) => results.length > 0 && !delivered,
  ).length;
}

describe('a device that is killed', { concurrency: true }, () => {
  onEachBroker('at each point of a prompt’s way', (kind) => {
    for (const point of killPoints)
      test(`[FAULT-1] [SLMD-PRO-1] [SLMD-PRO-2] when ${point.name}, it answers everything after its restart`, async (t) => {
        const trial = await Trial.open(t, kind);
        trial.start(point);
        await trial.requester.ready();
        await trial.send(prompts, 'slow 3');
        await trial.died();
        const repeatable = undelivered(trial.journal_dir);
        trial.start();
        await trial.end();
        const { duplicates } = trial.ledger;
        assert.ok(duplicates <= repeatable, `${duplicates} duplicates of ${repeatable}`);
      });
  });
});
