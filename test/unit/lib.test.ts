import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { backoffMs } from '../../src/lib/backoff.ts';
import { Cached } from '../../src/lib/cached.ts';
import { monotonicMs } from '../../src/lib/clock.ts';
import { Dispensable } from '../../src/lib/dispensable.ts';
import { messageOf, SlmdError } from '../../src/lib/errors.ts';
import { engineEntry, packageRoot } from '../../src/lib/package-root.ts';
import { RateLimit } from '../../src/lib/rate-limit.ts';
import { randomNumbers } from '../support/random.ts';
import { temporaryDir } from '../support/temporary.ts';

const bounds = { min_ms: 100, max_ms: 5000 };
/** The largest that a random number can be. */
const almostOne = 1 - 2 ** -53;

test('a wait doubles with each attempt up to its bound, and is never less than half of that', () => {
  const longest = [0, 1, 2, 5, 6, 1000].map((attempt) => Math.round(backoffMs(attempt, bounds, almostOne)));
  assert.deepEqual(longest, [100, 200, 400, 3200, 5000, 5000]);
  const shortest = [0, 1, 6, 1000].map((attempt) => backoffMs(attempt, bounds, 0));
  assert.deepEqual(shortest, [50, 100, 2500, 2500]);
});

test('waits are spread over their upper half, so that many do not return together', () => {
  const random = randomNumbers(1);
  const waits = Array.from({ length: 1000 }, () => backoffMs(20, bounds, random()));
  for (let part = 0; part < 5; part++) {
    const inPart = waits.filter((ms) => ms >= 2500 + part * 500 && ms < 3000 + part * 500);
    assert.ok(inPart.length > 150 && inPart.length < 250, `${inPart.length} in part ${part}`);
  }
});

test('a bound that is below the first wait holds from the first wait on', () => {
  assert.equal(backoffMs(0, { min_ms: 100, max_ms: 40 }, 0), 20);
});

test('slmd finds itself from any depth below, and says so where it is not whole', (context) => {
  const dir = temporaryDir(context, { 'package.json': '{}', 'devices/a.yaml': '', 'src/lib/x.ts': '' });
  assert.equal(packageRoot(join(dir, 'src', 'lib')), dir);
  assert.equal(packageRoot(dir), dir);
  const broken = temporaryDir(context, { 'package.json': '{}', 'src/lib/x.ts': '' });
  assert.throws(() => packageRoot(join(broken, 'src', 'lib')));
  assert.ok(existsSync(join(packageRoot(), 'src', 'main.ts')));
  assert.ok(engineEntry().startsWith(packageRoot()));
});

test('the clock never goes back', () => {
  let last = monotonicMs();
  for (let i = 0; i < 1000; i++) {
    const now = monotonicMs();
    assert.ok(now >= last);
    last = now;
  }
});

test('an error keeps its code, and anything that is thrown has a message', () => {
  assert.equal(new SlmdError('some_code', 'text').code, 'some_code');
  assert.deepEqual(
    [messageOf(new Error('a')), messageOf('b'), messageOf(undefined)],
    ['a', 'b', 'undefined'],
  );
});

test('of what comes by the hundred the first few are admitted, and at the end the others are a number', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const others: number[] = [];
  const limit = new RateLimit(3, 1000, (count) => others.push(count));
  const burst = (size: number) => Array.from({ length: size }, () => limit.admits()).filter(Boolean).length;
  assert.equal(burst(100), 3);
  assert.deepEqual(others, []);
  t.mock.timers.tick(1000);
  assert.deepEqual(others, [97]);
  assert.equal(burst(2), 2);
  t.mock.timers.tick(1000);
  assert.deepEqual(others, [97]);
});

test('what is costly to read is read again when it is old, and not before', () => {
  let reads = 0;
  const kept = new Cached(() => ++reads, 60_000);
  assert.deepEqual([kept.value, kept.value], [1, 1]);
  const old = new Cached(() => ++reads, 0);
  assert.deepEqual([old.value, old.value], [2, 3]);
});

test('work that can be done without goes on until it fails, which is said once and harms nobody', async () => {
  const said: string[] = [];
  let begun = 0;
  const work = new Dispensable('pages stay small', (line) => said.push(line));
  const attempt = (act: () => unknown) =>
    work.attempt(() => {
      begun++;
      return act();
    });
  await attempt(() => undefined);
  const gate = Promise.withResolvers<void>();
  const both = [attempt(() => gate.promise), attempt(() => gate.promise)];
  assert.equal(begun, 3, 'it begins at once');
  gate.reject(new Error('no room'));
  await Promise.all(both);
  await attempt(() => undefined);
  assert.equal(begun, 3);
  assert.deepEqual(said, ['pages stay small: no room']);
  const thrower = new Dispensable('nothing is given back', (line) => said.push(line));
  await thrower.attempt(() => {
    throw new Error('at once');
  });
  assert.equal(said.length, 2);
});
