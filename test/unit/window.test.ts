import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Window } from '../../src/mqtt/window.ts';

test('a window lets its size in at once, and the others in their order as those leave', async () => {
  const window = new Window(2);
  const entered: number[] = [];
  const all = [0, 1, 2, 3].map((i) => window.enter().then(() => entered.push(i)));
  await Promise.all(all.slice(0, 2));
  assert.deepEqual(entered, [0, 1]);
  window.leave();
  await all[2];
  assert.deepEqual(entered, [0, 1, 2]);
  window.leave();
  await all[3];
  window.leave();
  window.leave();
  await Promise.all([window.enter(), window.enter()]);
});
