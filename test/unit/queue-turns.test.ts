import assert from 'node:assert/strict';
import { test } from 'node:test';
import { promptRequest } from '../support/prompts.ts';
import { settled } from '../support/wait.ts';
import { roomy, Watched } from '../support/watched-queue.ts';

test('a turn that is given back for one alone comes next, when all others are over, and nobody joins it', async () => {
  const watched = new Watched(roomy, 3);
  for (const id of ['a', 'b', 'c', 'd']) watched.enter(id, { priority: 'high' });
  await settled();
  assert.deepEqual(watched.turns, ['a', 'b', 'c']);
  assert.ok(watched.places.get('a')?.shared);
  for (const id of ['b', 'c'])
    void watched.places
      .get(id)
      ?.again()
      .then(() => watched.turns.push(`${id} alone`));
  await settled();
  assert.deepEqual(watched.counts, [3, 10, 1], 'nobody starts while one must be alone first');
  watched.places.get('a')?.leave();
  await settled();
  assert.deepEqual(watched.turns.slice(3), ['b alone']);
  assert.equal(watched.places.get('b')?.shared, false);
  watched.places.get('b')?.leave();
  watched.places.get('c')?.leave();
  await settled();
  assert.deepEqual(watched.turns.slice(3), ['b alone', 'c alone', 'd']);
});

test('who gives up waiting for a turn alone holds nobody up', async () => {
  const watched = new Watched(roomy, 2);
  for (const id of ['a', 'b', 'c']) watched.enter(id);
  await settled();
  void watched.places.get('b')?.again();
  watched.places.get('b')?.leave();
  await settled();
  assert.deepEqual(watched.turns, ['a', 'b', 'c']);
});

test('a request that is to be alone waits until it is, and holds up those behind it until it leaves', async () => {
  const watched = new Watched(roomy, 2);
  watched.enter('a');
  const place = watched.queue.enter(promptRequest({ id: 'alone' }), true);
  void place.turn.then(() => watched.turns.push('alone'));
  watched.enter('b');
  await settled();
  assert.deepEqual(watched.turns, ['a']);
  watched.places.get('a')?.leave();
  await settled();
  assert.deepEqual(watched.turns, ['a', 'alone']);
  place.leave();
  await settled();
  assert.deepEqual(watched.turns, ['a', 'alone', 'b']);
});

test('more turns are given at once when there may be more, and no new one while there are too many', async () => {
  const watched = new Watched(roomy, 1);
  for (const id of ['a', 'b', 'c', 'd']) watched.enter(id);
  watched.queue.concurrency = 3;
  await settled();
  assert.deepEqual(watched.turns, ['a', 'b', 'c']);
  watched.queue.concurrency = 1;
  for (const id of ['a', 'b']) watched.places.get(id)?.leave();
  await settled();
  assert.deepEqual(watched.turns, ['a', 'b', 'c']);
  watched.places.get('c')?.leave();
  await settled();
  assert.equal(watched.turns.at(-1), 'd');
});
