import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { historyMax, pointerFile, readPointer, realDisk } from '../../src/supply/pointer.ts';
import { ModelStore } from '../../src/supply/store.ts';
import { temporaryDir } from '../support/temporary.ts';

function storeOf(t: TestContext, ...names: string[]): ModelStore {
  const files = names.map((name) => [`${name}/file`, name]);
  return new ModelStore(temporaryDir(t, Object.fromEntries(files)));
}

const states = async (store: ModelStore) => (await store.list()).map(({ name, state }) => `${name} ${state}`);

test('a store that is not there, or is empty, has no models and nothing active', async (t) => {
  for (const store of [new ModelStore('/nonexistent/store'), storeOf(t)]) {
    assert.deepEqual(await store.list(), []);
    assert.deepEqual(store.pointer, { active: null, history: [] });
    assert.throws(() => store.rollback(), { code: 'nothing_to_roll_back' });
  }
});

test('models are listed by name with their size and state; what is no model is not', async (t) => {
  const store = storeOf(t, 'b', 'a', '.pull-c', '.removed-d', '.e', 'F');
  writeFileSync(join(store.dir, 'g'), 'a file');
  store.activate('a');
  store.activate('b');
  assert.deepEqual(await states(store), ['a previous', 'b active', 'c partial']);
  assert.deepEqual(
    (await store.list()).map(({ bytes }) => bytes),
    [1, 1, 7],
  );
});

test('a rollback goes back step by step, in the end to the model that ships, and no further', (t) => {
  const store = storeOf(t, 'a', 'b');
  store.activate('a');
  store.activate('b');
  store.activate('b');
  assert.equal(store.rollback(), 'a');
  assert.equal(store.rollback(), null);
  assert.throws(() => store.rollback(), { code: 'nothing_to_roll_back' });
  assert.deepEqual(store.pointer, { active: null, history: [] });
  store.activate('a');
  store.activate(null);
  assert.equal(store.rollback(), 'a');
});

test('the active model that is activated again is written again, and changes nothing else', (t) => {
  const written: string[] = [];
  const write = (path: string, text: string) => {
    written.push(text);
    realDisk.write(path, text);
  };
  const { dir } = storeOf(t, 'a');
  const store = new ModelStore(dir, { ...realDisk, write });
  for (const name of ['a', 'a']) store.activate(name);
  assert.deepEqual([written.length, written[0]], [2, written[1]]);
});

test('a model that was active twice is gone back to once, and one that is gone is passed over', (t) => {
  const store = storeOf(t, 'a', 'b', 'c');
  for (const name of ['a', 'b', 'a', 'c']) store.activate(name);
  assert.deepEqual(store.pointer.history, ['a', 'b', null]);
  const other = storeOf(t, 'b');
  writeFileSync(
    join(other.dir, pointerFile),
    JSON.stringify({ format: 1, active: 'b', history: ['gone', null] }),
  );
  assert.equal(other.rollback(), null);
});

test('what is remembered of the past is bounded', (t) => {
  const names = Array.from({ length: historyMax + 3 }, (_, i) => `m${i}`);
  const store = storeOf(t, ...names);
  for (const name of names) store.activate(name);
  assert.equal(store.pointer.history.length, historyMax);
  assert.equal(store.pointer.history[0], names.at(-2));
});

test('a model that is not there is not activated, and no name leads out of the store', async (t) => {
  const store = storeOf(t, 'a');
  for (const name of ['b', '../a', '/etc', '.pull-a', 'A', '']) {
    assert.throws(() => store.activate(name), { code: 'model_unknown' }, name);
    await assert.rejects(async () => store.remove(name), { code: 'model_unknown' }, name);
  }
  assert.equal(store.pointer.active, null);
});

test('a model is removed unless it is active or a rollback goes back to it', async (t) => {
  const store = storeOf(t, 'a', 'b', 'c', '.pull-d', '.pull-a');
  store.activate('a');
  store.activate('b');
  for (const name of ['a', 'b']) await assert.rejects(store.remove(name), { code: 'model_in_use' });
  assert.ok(existsSync(store.partialOf('a')), 'nothing of it is removed');
  await store.remove('c');
  await store.remove('d');
  await assert.rejects(store.remove('c'), { code: 'model_unknown' });
  assert.deepEqual(readdirSync(store.dir).toSorted(), ['.pull-a', 'a', 'active.json', 'b']);
});

test('a record of what is active that cannot be read is said, and never taken for none', (t) => {
  for (const text of ['', '{', '{"format":2}', '{"format":1,"active":"../x","history":[]}']) {
    const dir = temporaryDir(t, { [pointerFile]: text });
    assert.throws(() => readPointer(dir), { code: 'store_invalid' }, text);
    mkdirSync(join(dir, 'a'));
    assert.throws(() => new ModelStore(dir).activate('a'), { code: 'store_invalid' }, text);
  }
});

test('a model is found by its name in the store first, else by its path', (t) => {
  const store = storeOf(t, 'a');
  assert.equal(store.find('a'), join(store.dir, 'a'));
  assert.equal(store.find(store.dir), store.dir);
  assert.throws(() => store.find('b'), { code: 'model_unknown' });
});
