import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { rememberBoot } from '../../src/journal/boots.ts';
import { temporaryDir } from '../support/temporary.ts';

test('each process of a journal finds the names of those before it, and no more than a bound', async (t) => {
  const dir = temporaryDir(t);
  assert.deepEqual(await rememberBoot(dir, 'aa'), []);
  assert.deepEqual(await rememberBoot(dir, 'bb'), ['aa']);
  for (let i = 0; i < 100; i++) await rememberBoot(dir, i.toString(16));
  const names = await rememberBoot(dir, 'cc');
  assert.equal(names.length, 64);
  assert.equal(names.at(-1), (99).toString(16));
});

test('a list that is damaged counts as far as it can be read, and one that cannot be written is no trouble', async (t) => {
  const dir = temporaryDir(t);
  writeFileSync(join(dir, 'boots'), 'aa\n\0\0garbage\nbb');
  assert.deepEqual(await rememberBoot(dir, 'cc'), ['aa', 'bb']);
  mkdirSync(join(dir, 'boots.new'));
  assert.deepEqual(await rememberBoot(dir, 'dd'), ['aa', 'bb', 'cc']);
  assert.deepEqual(await rememberBoot(join(dir, 'nowhere'), 'ee'), []);
});
