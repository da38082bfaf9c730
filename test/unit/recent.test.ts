import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Recent } from '../../src/grammar/recent.ts';

test('of more than there is room for, what was asked for longest ago goes, and is told so once', () => {
  const gone: number[] = [];
  const recent = new Recent<number>(2, (value) => gone.push(value));
  recent.add('one', 1);
  assert.equal(recent.add('two', 2), 2);
  assert.equal(recent.get('one'), 1);
  recent.add('three', 3);
  assert.deepEqual(gone, [2]);
  assert.equal(recent.get('two'), undefined);
  assert.deepEqual([recent.get('one'), recent.get('three')], [1, 3]);
  recent.add('four', 4);
  assert.deepEqual(gone, [2, 1]);
});
