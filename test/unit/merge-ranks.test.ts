import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { MergeRanks } from '../../src/model/merge-ranks.ts';
import { Tokenizer } from '../../src/model/tokenizer.ts';
import { byteLevelFiles } from '../support/tokenizers.ts';

const breaker = '\uE000';

/** Letters that JSON escapes are among them. */
const tokens = Array.from(
  { length: 300 },
  (_, i) => `${String.fromCharCode(33 + (i % 90))}${i % 7 === 0 ? '"\\' : ''}${i}`,
);
const ids = new Map(tokens.map((token, id) => [token, id]));

test('each pair of a vocabulary has the rank that a Map of their texts has, in either way of writing merges', () => {
  const pairs = Array.from({ length: 20_000 }, (_, i) => [
    tokens[(i * 7919) % 300]!,
    tokens[(i * i + 31 * i) % 300]!,
  ]);
  const expected = new Map(pairs.map((pair, rank) => [JSON.stringify(pair), rank]));
  const asPairs = new MergeRanks(pairs, ids);
  const asTexts = new MergeRanks(
    pairs.map((pair) => pair.join(' ')),
    ids,
  );
  for (const first of tokens)
    for (const second of tokens) {
      const pair = JSON.stringify([first, second]);
      assert.equal(asPairs.get(pair), expected.get(pair), pair);
      assert.equal(asTexts.get(pair), expected.get(pair), pair);
    }
});

test('a piece that is no token has no rank, and without merges nothing has', () => {
  assert.equal(
    new MergeRanks([[tokens[0]!, tokens[1]!]], ids).get(JSON.stringify([tokens[0], 'nowhere'])),
    undefined,
  );
  assert.equal(new MergeRanks([], ids).get(JSON.stringify([tokens[0], tokens[1]])), undefined);
});

test('tokens that share an id are told apart', () => {
  const files = byteLevelFiles();
  const model = files.tokenizer.model as { vocab: Record<string, number>; merges: string[] };
  model.vocab.ab = 1000;
  model.merges = ['a b'];
  assert.deepEqual(new Tokenizer(files).encode('abad', breaker), [1000, 0x61, 0x64]);
  model.vocab.d = 0x62;
  assert.deepEqual(new Tokenizer(files).encode('abad', breaker), [1000, 0x61, 0x62]);
});

/** More than the parsed file had, which is gone: 44, and 186 as the library keeps it. */
const bytesPerMergeMax = 100;

test('of a file of 60,000 merges a tokenizer keeps its tokens, and little more', () => {
  const sources = ['src/model/tokenizer.ts', 'test/support/tokenizers.ts'].map((path) =>
    JSON.stringify(join(import.meta.dirname, '../..', path)),
  );
  const program = `
    const { Tokenizer } = require(${sources[0]});
    const { byteLevelFiles } = require(${sources[1]});
    let files = byteLevelFiles();
    const { model } = files.tokenizer;
    const letters = Object.keys(model.vocab).slice(0, 40);
    model.merges = [];
    const add = (first, second) => {
      model.vocab[first + second] = 1000 + model.merges.length;
      model.merges.push(first + ' ' + second);
    };
    for (const a of letters) for (const b of letters) add(a, b);
    for (const a of letters) for (const b of letters) for (const c of letters.slice(0, 37)) add(a + b, c);
    const count = model.merges.length;
    files = JSON.parse(JSON.stringify(files));
    gc();
    const before = process.memoryUsage().heapUsed;
    const tokenizer = new Tokenizer(files);
    files = undefined;
    gc();
    console.log(count, (process.memoryUsage().heapUsed - before) / count);
    tokenizer.encode('a', 'b');`;
  const said = execFileSync(process.execPath, ['--expose-gc', '-e', program], { encoding: 'utf8' });
  const [count = 0, bytesPerMerge = 0] = said.split(' ').map(Number);
  assert.ok(count > 60_000);
  assert.ok(bytesPerMerge < bytesPerMergeMax, said);
});
