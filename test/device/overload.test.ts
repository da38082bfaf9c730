import assert from 'node:assert/strict';
import { test } from 'node:test';
import { overload } from '../soak/overload.ts';
import { overloadFailures, overloadTable } from '../soak/overload-report.ts';
import { mosquittoMissing } from '../support/mosquitto.ts';

const factor = 10;
const seconds = 10;

test(`[SLMD-ERR-2] [SLMD-ADM-4] offered ${factor} times what it can do, a device answers what it admits in time, refuses the rest with a code, and stays small`, {
  skip: mosquittoMissing(),
}, async (t) => {
  const report = await overload({ seed: 1, seconds, factor, progress: () => undefined });
  t.diagnostic(overloadTable(report));
  assert.deepEqual(overloadFailures(report, factor), []);
  const { ok = 0, queue_full = 0, deadline_unmeetable = 0 } = report.outcomes;
  assert.ok(ok > 0 && queue_full + deadline_unmeetable > report.prompts / 2);
});
