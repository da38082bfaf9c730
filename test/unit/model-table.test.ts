import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageRoot } from '../../src/lib/package-root.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';

const read = (path: string) => readFileSync(join(packageRoot(), path), 'utf8');

/** The rows of the table that begins with this cell, without its head: the text of each cell. */
function rowsOf(text: string, head: string): string[][] {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${head} `));
  assert.notEqual(start, -1, `there is a table of ${head}`);
  const end = lines.findIndex((line, i) => i > start && !line.startsWith('|'));
  return lines.slice(start + 2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

const main = read('README.md');
const details = read('src/model/README.md');
const families = rowsOf(details, 'family');

test('every cell of the table of families names tests, each of which is there', () => {
  const [legend = ''] = /^B, Q, F and L are the tests .*$/m.exec(main) ?? [];
  const letters = new Map(
    [...legend.matchAll(/`([\w-]+)`/g)].slice(0, 4).map(([, name], i) => ['BQFL'[i], name]),
  );
  for (const [family, ...cells] of rowsOf(main, 'family')) {
    assert.equal(cells.length, 6, family);
    for (const letter of cells.flatMap((cell) => cell.split(' '))) {
      const name = letters.get(letter);
      assert.ok(name !== undefined, `${family}: ${letter}`);
      assert.ok(existsSync(join(packageRoot(), `test/engine/${name}.test.ts`)), name);
    }
  }
});

test('both tables have the same families, and all checkpoints are in the one that names them', () => {
  assert.deepEqual(
    rowsOf(main, 'family').map(([family]) => family),
    families.map(([family]) => family),
  );
  const named = families.flatMap(([, all = '']) => [...all.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
  assert.deepEqual(named.toSorted(), Object.keys(tinyVariants).toSorted());
  for (const [family, all = '', one = ''] of families) assert.ok(one !== '' && all.includes(one), family);
});

test('every test that is named where the families are shown is there', () => {
  const names = [...details.matchAll(/`([\w-]+)\.test`/g)].map(([, name]) => name);
  assert.ok(names.length > 8);
  for (const name of names)
    assert.ok(
      ['unit', 'engine'].some((layer) => existsSync(join(packageRoot(), `test/${layer}/${name}.test.ts`))),
      name,
    );
});
