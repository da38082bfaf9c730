import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ModelChoice } from '../../src/supply/model-choice.ts';
import { pointerFile, writePointer } from '../../src/supply/pointer.ts';
import { temporaryDir } from '../support/temporary.ts';
import { inTime } from '../support/wait.ts';

const trust = { public_keys: 'pem', required: true };
const variant_kind = 'int8' as const;
const shipped = { dir: '/shipped', trust: null, variant_kind };

function given(t: TestContext, active: string | null, history: (string | null)[] = []) {
  const store = temporaryDir(t);
  if (active !== null) writePointer(store, { active, history });
  const choice = new ModelChoice({ dir: null, store, trust, shipped: shipped.dir, variant: variant_kind });
  const stored = (name: string) => ({ dir: join(store, name), trust, variant_kind });
  return { store, choice, stored };
}

test('without a store the model that ships is chosen, and there is nothing instead', (t) => {
  const { choice } = given(t, null);
  assert.deepEqual([choice.source, choice.failed('why'), choice.finding], [shipped, null, null]);
});

test('the active model is chosen; what fails gives way to what was active before, at last to what ships', (t) => {
  const { choice, stored } = given(t, 'c', ['b', null, 'a']);
  assert.deepEqual(choice.source, stored('c'));
  assert.equal(choice.finding, null);
  assert.deepEqual(choice.failed('no logits'), stored('b'));
  assert.match(choice.finding ?? '', /\bc\b.*no logits.*; b answers/);
  assert.deepEqual(choice.failed('gone'), shipped);
  assert.deepEqual(choice.failed('x'), stored('a'));
  assert.equal(choice.failed('y'), null);
  assert.deepEqual(choice.source, stored('a'));
  assert.match(choice.finding ?? '', /\bc\b.*no logits.*; a answers/);
});

test('model.dir is the one model, whatever the store says', (t) => {
  const { store } = given(t, 'a');
  const choice = new ModelChoice({ dir: '/mine', store, trust, shipped: '/shipped', variant: variant_kind });
  assert.deepEqual([choice.source, choice.failed('x')], [{ dir: '/mine', trust, variant_kind }, null]);
});

test('a store that cannot be read is said, and the model that ships is chosen', (t) => {
  const { store } = given(t, null);
  writeFileSync(join(store, pointerFile), 'nonsense');
  const choice = new ModelChoice({ dir: null, store, trust, shipped: '/shipped', variant: variant_kind });
  assert.deepEqual(choice.source, shipped);
  assert.match(choice.finding ?? '', /active\.json/);
});

test('an activation is seen, also of the model that had failed, and also of the first in a store', async (t) => {
  const { store, choice, stored } = given(t, null);
  let seen = Promise.withResolvers<void>();
  choice.start(() => seen.resolve());
  t.after(() => choice.stop());
  for (const expected of ['a', 'a']) {
    writePointer(store, { active: expected, history: [] });
    await inTime(seen.promise, 'the activation is seen');
    seen = Promise.withResolvers();
    assert.deepEqual([choice.source, choice.finding], [stored('a'), null]);
    choice.failed('x');
    assert.deepEqual(choice.source, shipped);
  }
});
