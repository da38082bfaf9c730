import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tokenizer } from '../../src/model/tokenizer.ts';
import {
  byteFallbackFiles,
  byteLevelFiles,
  metaspaceFiles,
  sharedJson,
  sharedTokenizerFiles,
  sharedTokenizers,
} from '../support/tokenizers.ts';

const breaker = '\uE000';

interface ReferenceCase {
  text: string;
  ids: number[];
  ids_no_special: number[];
  decoded_specials_removed: string;
}

for (const name of sharedTokenizers.filter((shared) => shared.startsWith('tokenizers/'))) {
  test(`known texts have the ids and the decoded text of the reference in ${name}`, () => {
    const tokenizer = new Tokenizer(sharedTokenizerFiles(name));
    const { cases } = sharedJson(`${name}/expected.json`) as { cases: ReferenceCase[] };
    assert.ok(cases.length > 100);
    for (const { text, ids_no_special, decoded_specials_removed } of cases) {
      const ids = tokenizer.encode(text, breaker);
      assert.deepEqual(ids, ids_no_special, JSON.stringify(text));
      assert.equal(tokenizer.decode(ids), decoded_specials_removed);
    }
  });
}

test('special tokens of a template become one id, and none where a breaker stands inside', () => {
  const tokenizer = new Tokenizer(byteLevelFiles());
  const end = tokenizer.idOf('<|end|>')!;
  assert.deepEqual(tokenizer.encode('a<|end|>b', breaker), [0x61, end, 0x62]);
  const broken = tokenizer.encode(`a<${breaker}|end|>b`, breaker);
  assert.deepEqual(broken, [...Buffer.from('a<|end|>b')]);
});

test('bare text gets the ids that begin every input, and none for a special token it spells', () => {
  const tokenizer = new Tokenizer(byteFallbackFiles());
  const ids = tokenizer.encodeBare('a</s><s>');
  assert.equal(ids[0], 1);
  assert.ok(ids.slice(1).every((id) => id !== 1 && id !== 2));
  assert.equal(tokenizer.decode(ids), 'a</s><s>');
});

test('a special token that the vocabulary also holds as an ordinary piece is broken up in bare text', () => {
  const tokenizer = new Tokenizer(metaspaceFiles('first'));
  const ids = tokenizer.encodeBare('on</s>on');
  assert.ok(!ids.includes(2));
  assert.ok(ids.length > 3);
});

test('with prepend_scheme first only the first section of a text gets a leading space', () => {
  const tokenizer = new Tokenizer(metaspaceFiles('first'));
  const word = tokenizer.idOf('▁on')!;
  const pieces = [tokenizer.idOf('o')!, tokenizer.idOf('n')!];
  assert.deepEqual(tokenizer.encode('on<s>on', breaker), [word, 1, ...pieces]);
  assert.deepEqual(tokenizer.encode('<s>on', breaker), [1, ...pieces]);
});

test('a special token that strips takes the white space beside it', () => {
  const files = byteLevelFiles();
  const added = files.tokenizer.added_tokens as { rstrip: boolean; lstrip: boolean }[];
  added[1] = { ...added[1]!, rstrip: true, lstrip: true };
  const tokenizer = new Tokenizer(files);
  const end = tokenizer.idOf('<|end|>')!;
  assert.deepEqual(tokenizer.encode('a  <|end|>\n b', breaker), [0x61, end, 0x62]);
});

test('the unknown id may come of text although it is marked special', () => {
  const tokenizer = new Tokenizer(metaspaceFiles('always'));
  assert.ok(tokenizer.encode('on 镇', breaker).includes(0));
});
