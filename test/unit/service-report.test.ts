import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { notification, Pulse, ServiceReport, type Vitals } from '../../src/service-report.ts';
import { Heard, until } from '../support/wait.ts';

const starting: Vitals = {
  connected: false,
  model_loaded: false,
  status: { state: 'starting', why: 'the model is loading' },
  running: 0,
  waits_for_disk: false,
  progressed_at: 0,
};
const ready = { state: 'ready', why: null } as const;

function reportOf(t: TestContext, { watchdog_ms = null as number | null, delivers = true } = {}) {
  const told = new Heard<string>();
  const errors: unknown[] = [];
  let vitals = starting;
  const settings = { delivers };
  const report = new ServiceReport({
    manager: {
      watchdog_ms,
      notify: (text) => {
        if (settings.delivers) for (const line of text.trimEnd().split('\n')) told.push(line);
        return settings.delivers;
      },
    },
    vitals: () => vitals,
    stuck_ms: 1000,
    log: {
      debug: () => {},
      info: () => {},
      warn: () => {},
      error: (...args: unknown[]) => errors.push(args),
    } as never,
  });
  t.after(() => report.stop());
  const become = (change: Partial<Vitals>) => {
    vitals = { ...vitals, ...change };
    report.changed();
  };
  const count = (line: string) => told.all.filter((other) => other === line).length;
  return { report, told, become, count, settings, errors };
}

test('a device is ready once, when it has a broker and a model, in whatever order', (t) => {
  for (const steps of [
    [{ connected: true }, { model_loaded: true, status: ready }],
    [{ model_loaded: true, status: ready }, { connected: true }],
  ]) {
    const { report, become, count } = reportOf(t);
    report.start();
    assert.equal(count('READY=1'), 0);
    become(steps[0] ?? {});
    assert.equal(count('READY=1'), 0);
    become(steps[1] ?? {});
    assert.equal(count('READY=1'), 1);
    become({ connected: false });
    become({ connected: true });
    assert.equal(count('READY=1'), 1);
  }
});

test('a start that goes on asks for more time, and a device that is ready does not', async (t) => {
  const { report, become, told, count } = reportOf(t, { watchdog_ms: 20 });
  report.start();
  await told.atLeast(3, (line) => line === 'EXTEND_TIMEOUT_USEC=30000000', 'three extensions');
  become({ connected: true, model_loaded: true, status: ready });
  const extensions = count('EXTEND_TIMEOUT_USEC=30000000');
  await told.atLeast(count('WATCHDOG=1') + 3, (line) => line === 'WATCHDOG=1', 'three more beats');
  assert.equal(count('EXTEND_TIMEOUT_USEC=30000000'), extensions);
});

test('the status is one line for a person, said when it changes', (t) => {
  const { report, become, told } = reportOf(t);
  report.start();
  become({ connected: true, model_loaded: true, status: ready });
  become({});
  become({ status: { state: 'degraded', why: 'the engine\nhas crashed' } });
  become({ connected: false });
  assert.deepEqual(
    told.all.filter((line) => line.startsWith('STATUS=')),
    [
      'STATUS=no broker; starting: the model is loading',
      'STATUS=ready',
      'STATUS=degraded: the engine has crashed',
      'STATUS=no broker; degraded: the engine has crashed',
    ],
  );
});

test('a READY that was not delivered is told again', async (t) => {
  const { report, become, told, settings } = reportOf(t, { watchdog_ms: 20, delivers: false });
  report.start();
  become({ connected: true, model_loaded: true, status: ready });
  settings.delivers = true;
  await told.find((line) => line === 'READY=1', 'ready');
});

test('work that is stuck is not called alive, and is again when it goes on', async (t) => {
  const { report, become, told, errors } = reportOf(t, { watchdog_ms: 20 });
  report.start();
  become({ connected: true, model_loaded: true, status: ready, running: 1 });
  await told.find((line) => line === 'WATCHDOG=1', 'alive at first');
  // Beyond any clock: no progress ever, then progress for ever.
  become({ progressed_at: Number.NEGATIVE_INFINITY });
  await until(() => errors.length || undefined, 'it is said');
  const since = told.mark;
  become({ progressed_at: Number.POSITIVE_INFINITY });
  await told.find((line) => line === 'WATCHDOG=1', 'alive again', { since });
  assert.equal(errors.length, 1, 'it is said once');
});

test('a pulse is there while nothing runs or the disk is waited for, and as long as work goes on', () => {
  const pulse = new Pulse(1000);
  const alive = (now: number, vitals: Partial<Vitals>) =>
    pulse.alive({ ...starting, model_loaded: true, ...vitals }, now);
  assert.ok(alive(50_000, { running: 0 }));
  assert.ok(alive(51_000, { running: 1 }), 'work that has just begun');
  assert.ok(!alive(51_001, { running: 1 }));
  assert.ok(alive(51_001, { running: 1, progressed_at: 50_500 }));
  assert.ok(!alive(51_501, { running: 1, progressed_at: 50_500 }));
  assert.ok(alive(60_000, { running: 1, waits_for_disk: true }));
  assert.ok(alive(61_000, { running: 1 }));
  assert.ok(!alive(61_001, { running: 1 }));
  assert.ok(alive(61_001, { running: 1, model_loaded: false }), 'the supervisor brings up the next engine');
});

test('stopping is told with the time that it may take, and nothing after it', (t) => {
  const { report, become, told } = reportOf(t, { watchdog_ms: 20 });
  report.start();
  report.stopping(25_000);
  assert.deepEqual(told.all.slice(-3), ['STOPPING=1', 'STATUS=stopping', 'EXTEND_TIMEOUT_USEC=25000000']);
  report.stop();
  report.stop();
  const { mark } = told;
  become({ connected: true, model_loaded: true, status: ready });
  assert.equal(told.mark, mark);
});

test('without a service manager nothing is said and no timer runs', () => {
  const vitals = () => assert.fail('nobody asks');
  const report = new ServiceReport({ manager: null, vitals, stuck_ms: 1, log: console as never });
  report.start();
  report.changed();
  report.stopping(1);
  report.stop();
});

test('a value does not begin a line of its own', () => {
  assert.equal(notification({ STATUS: 'a\nREADY=1', WATCHDOG: 1 }), 'STATUS=a READY=1\nWATCHDOG=1\n');
});
