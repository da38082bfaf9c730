import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rows } from '../../src/engine/rows.ts';
import { chooseRows, rowsThatFit } from '../../src/onnx/choose-rows.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';

/** A sequence without a model: its logits are all zero. */
class Fake implements Sequence {
  readonly contextLength = 1000;
  readonly vocabularySize = 4;
  length = 0;
  forward(ids: readonly number[]): Promise<Float32Array> {
    this.length += ids.length;
    return Promise.resolve(new Float32Array(4));
  }

  rewind(length: number): void {
    this.length = length;
  }

  reset(): void {
    this.length = 0;
  }
}

const prompt = (start: number, tokens = 100) => Array.from({ length: tokens }, (_, i) => start + i);

function rowsOf(count: number) {
  const sequences = Array.from({ length: count }, () => new Fake()) as [Fake, ...Fake[]];
  const rows = new Rows(sequences);
  const take = async (tokens: number[]) => {
    const row = rows.take(tokens);
    const cached = await row.enter(tokens);
    await row.sequence.forward(tokens.slice(cached));
    return { row, cached, index: sequences.indexOf(row.sequence as Fake) };
  };
  const run = async (tokens: number[]) => {
    const { row, cached, index } = await take(tokens);
    row.leave(tokens);
    rows.giveBack(row);
    return { cached, index };
  };
  return { rows, take, run };
}

test('a prompt takes the free row that holds most of it, and several conversations keep a row each', async () => {
  const { run } = rowsOf(3);
  const prompts = [prompt(0), prompt(1000), prompt(2000)];
  const first = [];
  for (const one of prompts) first.push((await run(one)).index);
  assert.deepEqual(first.toSorted(), [0, 1, 2]);
  for (const [i, one] of prompts.entries())
    assert.deepEqual(await run([...one, 7, 8, 9]), { index: first[i], cached: 96 });
});

test('a prompt that no row knows takes the one whose prompt came longest ago', async () => {
  const { run } = rowsOf(2);
  const kept = (await run(prompt(0))).index;
  const other = (await run(prompt(1000))).index;
  await run(prompt(0));
  assert.equal((await run(prompt(2000))).index, other);
  assert.equal((await run(prompt(0))).index, kept);
});

test('beside rows that are in use it takes a neighbour, because rows between them are run with them', async () => {
  const { rows, take, run } = rowsOf(4);
  for (let i = 0; i < 4; i++) await run(prompt(i * 1000));
  const { row, index } = await take(prompt(2000));
  const { index: beside } = await take(prompt(9000));
  assert.equal(Math.abs(beside - index), 1);
  rows.giveBack(row);
});

test('more generations than rows are a broken invariant', () => {
  const { rows } = rowsOf(1);
  rows.take([1, 2]);
  assert.throws(() => rows.take([1, 2]));
});

test('there are as many rows as fit into half of the memory that is free, at least one and at most four', () => {
  for (const [free, rows] of [
    [0, 1],
    [199, 1],
    [400, 2],
    [700, 3],
    [9000, 4],
  ] as const)
    assert.equal(rowsThatFit(100, free), rows);
});

/** Rows whose steps take so long, one alone and several together; `different` lets them round otherwise then. */
function measured(aloneMs: number, togetherMs: number, different = false) {
  let [now, asked, calls] = [0, 0, 0];
  class Timed extends Fake {
    override async forward(ids: readonly number[]): Promise<Float32Array> {
      calls++;
      asked++;
      await Promise.resolve();
      // Those that were asked in the same turn run together.
      const together = asked > 1;
      now += together ? togetherMs / asked : aloneMs;
      const logits = await super.forward(ids);
      asked = 0;
      return different && together ? logits.fill(1) : logits;
    }
  }
  const opened = {
    rows: Array.from({ length: 4 }, () => new Timed()),
    limit: 'memory' as const,
    dispose: () => Promise.resolve(),
  };
  const choose = (wanted: 'auto' | number) => chooseRows(opened, wanted, () => now);
  return { choose, calls: () => calls };
}

test('rows that together are hardly faster than one after another are not used, unless asked for', async () => {
  for (const [togetherMs, wanted, count] of [
    [20, 'auto', 4],
    [38, 'auto', 1],
    [38, 4, 4],
  ] as const) {
    const { rows, rowsGain, rowsChosenBy } = await measured(10, togetherMs).choose(wanted);
    assert.deepEqual([rows.length, rowsChosenBy], [count, wanted === 'auto' ? 'probe' : 'setting']);
    assert.ok(rowsGain !== null && rowsGain > 0);
    assert.ok(rows.every(({ length }) => length === 0));
  }
});

test('rows that round otherwise together than alone are never used', async () => {
  for (const wanted of ['auto', 4] as const) {
    const { rows, rowsChosenBy } = await measured(10, 20, true).choose(wanted);
    assert.deepEqual([rows.length, rowsChosenBy], [1, 'rounding']);
  }
});

test('one row that was asked for is not measured', async () => {
  const { choose, calls } = measured(10, 20);
  const { rows, rowsChosenBy, rowsGain } = await choose(1);
  assert.deepEqual([rows.length, rowsChosenBy, rowsGain, calls()], [1, 'setting', null, 0]);
});
