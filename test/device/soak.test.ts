import assert from 'node:assert/strict';
import { test } from 'node:test';
import { soak } from '../soak/soak.ts';
import { soakFailures, soakTable } from '../soak/soak-report.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';

const prompts = 300;
const seed = 4;

test(`[SLMD-PRO-2] [SLMD-ID-2] of ${prompts} prompts none is lost, answered in two ways or computed twice, whatever is killed, cut or full meanwhile`, {
  skip: mosquittoMissing(),
}, async (t) => {
  const report = await soak({ seed, prompts, minutes: 10, prompts_per_fault: 18, progress: () => undefined });
  t.diagnostic(soakTable(report));
  assert.deepEqual(soakFailures(report), []);
  assert.equal(report.verdict.answered, prompts);
  const struck = new Set(report.faults.map(({ name }) => name));
  for (const kind of ['daemon SIGKILL', 'engine SIGKILL', 'broker SIGKILL', 'broker SIGTERM', 'cut'])
    assert.ok(struck.has(kind), `${kind} was not among ${[...struck].join(', ')}`);
});
