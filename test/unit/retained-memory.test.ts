import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Parcel } from '../../src/mqtt/outbox.ts';
import { givenAgainMax, RetainedMemory } from '../../src/mqtt/retained-memory.ts';

function parcel(topic: string, more: Partial<Parcel> = {}): Parcel {
  return {
    topic,
    payload: `of ${topic}`,
    retain: true,
    delivered: () => undefined,
    smaller: () => 'smaller',
    ...more,
  };
}

/** Given at 0, 1000, 2000 and so on. */
function given(...parcels: Parcel[]): RetainedMemory {
  const memory = new RetainedMemory();
  for (const [i, one] of parcels.entries()) memory.given(one, i * 1000);
  return memory;
}

const topics = (parcels: Parcel[]) => parcels.map(({ topic }) => topic).join('');

test('what was given since a moment is given again, in its order, with the same bytes', () => {
  const again = given(parcel('a'), parcel('b'), parcel('c')).again(1000, 9000);
  assert.equal(topics(again), 'bc');
  assert.deepEqual(
    again.map(({ payload }) => payload),
    ['of b', 'of c'],
  );
});

test('what was taken back is not given again, also where it was taken back by an empty parcel', () => {
  const memory = given(parcel('a'), parcel('b'), parcel('c'));
  memory.takenBack('a');
  memory.given(parcel('b', { payload: '' }), 3000);
  memory.givenAgain('a', 4000);
  assert.equal(topics(memory.again(0, 9000)), 'c');
});

test('what was to be given again is owed until it was, whatever the moment', () => {
  const memory = given(parcel('a'), parcel('b'));
  memory.again(0, 5000);
  memory.givenAgain('a', 5000);
  assert.equal(topics(memory.again(9000, 9000)), 'b');
  memory.givenAgain('b', 9000);
  assert.equal(topics(memory.again(10_000, 10_000)), '');
});

test('it expires when it would have', () => {
  const memory = given(parcel('a', { expiry_s: 60 }));
  memory.again(0, 20_000);
  memory.givenAgain('a', 20_000);
  assert.equal(memory.again(0, 50_000)[0]?.expiry_s, 10);
  assert.equal(memory.again(0, 90_000)[0]?.expiry_s, 1);
});

test('only the newest are given again, by their number and by their bytes', () => {
  const many = Array.from({ length: givenAgainMax.parcels + 5 }, (_, i) => parcel(`${i},`));
  assert.equal(topics(given(...many).again(0, 0)), topics(many.slice(5)));
  const half = 'x'.repeat(givenAgainMax.bytes / 2);
  const large = [...'abc'].map((topic) => parcel(topic, { payload: half }));
  assert.equal(topics(given(...large).again(0, 0)), 'bc');
  assert.equal(topics(given(parcel('a', { payload: `${half}${half}x` })).again(0, 0)), '');
});
