import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { Trial } from '../support/trial.ts';
import { until } from '../support/wait.ts';

const times = 10;

describe('a prompt that is sent ten times', { concurrency: true }, () => {
  onEachBroker('before, during and after its run', (kind) => {
    test('[FAULT-7] [SLMD-ID-2] [SLMD-PRO-2] is run once, and its result has the same bytes each time', async (t) => {
      const trial = await Trial.open(t, kind);
      const { requester, ledger } = trial;
      trial.start();
      await requester.ready();
      const request = ledger.request('slow 20');
      const { id } = request;
      const sendAll = () => Promise.all(Array.from({ length: times }, () => requester.send(request)));
      const busy = await trial.send(1, 'slow 10');
      await sendAll();
      await ledger.answered(busy);
      await requester.event(id, 'started');
      await sendAll();
      await ledger.answered();
      await sendAll();
      await until(() => ledger.results(id).length > times || undefined, 'the result comes ten times more');
      await trial.end();
      assert.equal(ledger.runs(id).length, 1);
      assert.equal(ledger.results(id).length, times + 1);
    });

    test('[FAULT-7] [SLMD-ID-2] [SLMD-RES-8] is run anew when its retention has passed', async (t) => {
      const trial = await Trial.open(t, kind, { settings: { journal: { retention_s: 1 } } });
      const { requester, ledger } = trial;
      trial.start();
      await requester.ready();
      const request = ledger.request('slow 1');
      const { id } = request;
      await requester.send(request);
      await ledger.answered();
      const cleared = () =>
        requester.messages(`slmd/kitchen/result/${id}`).some(({ payload }) => payload.length === 0);
      // Each result that is delivered is an occasion to sweep.
      while (!cleared()) await requester.ask('slow 10');
      await requester.send(request);
      await until(() => ledger.runs(id).length === 2 || undefined, 'a second run');
      await until(() => ledger.results(id).length === 2 || undefined, 'a second result');
    });
  });
});
