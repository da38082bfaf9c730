import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RowSchedule } from '../../src/onnx/row-schedule.ts';

/** A runner that notes each run, as rows and tokens, and ends it when it is told to. */
class Runner {
  readonly runs: string[] = [];
  readonly signals: AbortSignal[] = [];
  readonly schedule: RowSchedule;
  #end: ((failure?: Error) => void) | undefined;

  /** @param patience none: whoever is to run together asks in the same turn */
  constructor(patience = 0) {
    this.schedule = new RowSchedule(this, patience);
  }

  chunk(row: number, ids: readonly number[], signal: AbortSignal): Promise<void> {
    return this.#run(`${row}:${ids.length}`, signal);
  }

  step(tokens: readonly { row: number }[], signal: AbortSignal): Promise<void> {
    return this.#run(tokens.map(({ row }) => row).join('+'), signal);
  }

  /** Ends the run under way, and lets whoever was answered ask again. */
  async end(failure?: Error): Promise<void> {
    this.#end?.(failure);
    await settled();
  }

  #run(name: string, signal: AbortSignal): Promise<void> {
    this.runs.push(name);
    this.signals.push(signal);
    return new Promise((resolve, reject) => {
      this.#end = (failure) => (failure === undefined ? resolve() : reject(failure));
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  }
}

/** Longer than the turn of the event loop after which the next run begins. */
async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

const chunk = [1, 2, 3];

test('rows that ask in the same turn run together, and one that comes later runs with the next step', async () => {
  const { schedule, runs, ...runner } = named();
  const asked = [schedule.ask(2, [1]), schedule.ask(0, [1])];
  await settled();
  asked.push(schedule.ask(1, [1]));
  await settled();
  assert.deepEqual(runs, ['2+0']);
  await runner.end();
  await runner.end();
  await Promise.all(asked);
  assert.deepEqual(runs, ['2+0', '1']);
});

test('[SLMD-ROW-2] chunks of prompts and steps take turns: neither holds the other up for longer than one run', async () => {
  const { schedule, runs, ...runner } = named();
  const prompt = async (row: number, chunks: number) => {
    for (let i = 0; i < chunks; i++) await schedule.ask(row, chunk);
  };
  const answer = async (row: number, tokens: number) => {
    for (let i = 0; i < tokens; i++) await schedule.ask(row, [1]);
    schedule.unexpect(row);
  };
  const all = Promise.all([answer(0, 4), answer(1, 4), prompt(2, 2), prompt(3, 2)]);
  for (let i = 0; i < 8; i++) {
    await settled();
    await runner.end();
  }
  await all;
  assert.deepEqual(runs, ['2:3', '0+1', '3:3', '0+1', '2:3', '0+1', '3:3', '0+1']);
});

test('an abort ends the wait of a row at once', async () => {
  const { schedule, runs, ...runner } = named();
  const first = schedule.ask(0, chunk);
  await settled();
  const abort = new AbortController();
  const second = schedule.ask(1, [1], abort.signal);
  const reason = new Error('enough');
  abort.abort(reason);
  await assert.rejects(second, (thrown) => thrown === reason);
  await runner.end();
  await first;
  assert.deepEqual(runs, ['0:3']);
});

test('an abort of one row of a step lets the others have theirs, and an abort of all ends the run', async () => {
  const { schedule, signals, ...runner } = named();
  for (const whole of [false, true]) {
    const aborts = [new AbortController(), new AbortController()];
    const [first, second] = aborts.map(({ signal }, row) => schedule.ask(row, [1], signal));
    const outcome = Promise.allSettled([first, second]);
    await settled();
    aborts[0]?.abort();
    assert.equal(signals.at(-1)?.aborted, false);
    if (whole) aborts[1]?.abort();
    else await runner.end();
    assert.equal(signals.at(-1)?.aborted, whole);
    const states = (await outcome).map(({ status }) => status);
    assert.deepEqual(states, ['rejected', whole ? 'rejected' : 'fulfilled']);
  }
});

test('where a run of several fails, each runs alone, and the failure is of those that fail again', async () => {
  const { schedule, runs, ...runner } = named();
  const asked = [0, 1, 2].map((row) => schedule.ask(row, [1]));
  const outcome = Promise.allSettled(asked);
  await settled();
  await runner.end(new Error('one of them'));
  await runner.end();
  await runner.end(new Error('this one'));
  await runner.end();
  const states = (await outcome).map(({ status }) => status);
  assert.deepEqual(states, ['fulfilled', 'rejected', 'fulfilled']);
  assert.deepEqual(runs, ['0+1+2', '0', '1', '2']);
});

test('an abort that came before is a rejection with its reason, and nothing is run', async () => {
  const { schedule, runs } = named();
  await assert.rejects(schedule.ask(0, [1], AbortSignal.abort(new Error('before'))), { message: 'before' });
  await settled();
  assert.deepEqual(runs, []);
});

test('a step waits for the rows that the last one had, and not for one that asks for no more', async () => {
  const { schedule, runs, ...runner } = named(1e6);
  const first = [schedule.ask(0, [1]), schedule.ask(1, [1])];
  await settled();
  await runner.end();
  await Promise.all(first);
  const second = [schedule.ask(0, [1])];
  await settled();
  assert.deepEqual(runs, ['0+1']);
  second.push(schedule.ask(1, [1]));
  await settled();
  assert.deepEqual(runs, ['0+1', '0+1']);
  await runner.end();
  await Promise.all(second);
  const third = schedule.ask(0, [1]);
  await settled();
  schedule.unexpect(1);
  await settled();
  assert.deepEqual(runs, ['0+1', '0+1', '0']);
  await runner.end();
  await third;
});

function named(patience = 0) {
  const runner = new Runner(patience);
  const { schedule, runs, signals } = runner;
  return { schedule, runs, signals, end: (failure?: Error) => runner.end(failure) };
}
