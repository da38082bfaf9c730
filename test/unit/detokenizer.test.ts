import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../src/engine/random.ts';
import { Detokenizer } from '../../src/model/detokenizer.ts';
import { Tokenizer, type TokenizerFiles } from '../../src/model/tokenizer.ts';
import {
  byteFallbackFiles,
  byteLevelFiles,
  metaspaceFiles,
  sharedJson,
  sharedTokenizerFiles,
  sharedTokenizers,
} from '../support/tokenizers.ts';

/** No text holds it: nothing is taken out. */
const breaker = '\uF8FF';

function stream(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const detokenizer = new Detokenizer(tokenizer);
  return [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
}

test('an emoji spread over four ids comes in one piece, with its last id', () => {
  const tokenizer = new Tokenizer(byteLevelFiles());
  const ids = tokenizer.encode('a🦙b', breaker);
  assert.equal(ids.length, 6);
  assert.deepEqual(stream(tokenizer, ids), ['a', '', '', '', '🦙', 'b', '']);
});

test('bytes of byte-fallback ids are put together to a character before they are given out', () => {
  const tokenizer = new Tokenizer(byteFallbackFiles());
  const ids = tokenizer.encode('a镇b', breaker);
  assert.deepEqual(stream(tokenizer, ids), ['a', '', '', '镇', 'b', '']);
});

test('half a character at the end is given out as a replacement character when no more ids come', () => {
  const tokenizer = new Tokenizer(byteLevelFiles());
  assert.deepEqual(stream(tokenizer, [0x61, 0xf0, 0x9f]), ['a', '', '', '\uFFFD']);
});

test('a true replacement character in the text is not lost', () => {
  const tokenizer = new Tokenizer(byteLevelFiles());
  const ids = tokenizer.encode('1\uFFFD\uFFFD2', breaker);
  assert.equal(stream(tokenizer, ids).join(''), '1\uFFFD\uFFFD2');
});

test('the space that a decoder drops from the first id is kept for all later ones', () => {
  const tokenizer = new Tokenizer(metaspaceFiles('always'));
  const ids = tokenizer.encode('the lamp is on', breaker);
  assert.deepEqual(stream(tokenizer, ids), ['the', ' lamp', ' is', ' on', '']);
});

test('special tokens and ids outside the vocabulary have no text and change no other', () => {
  const tokenizer = new Tokenizer(metaspaceFiles('always'));
  const [the, lamp] = tokenizer.encode('the lamp', breaker);
  assert.deepEqual(stream(tokenizer, [1, the!, 2, 9999, lamp!]), ['', 'the', '', '', ' lamp', '']);
});

test('however long the answer, only a few ids are decoded at a time', () => {
  const tokenizer = new Tokenizer(byteLevelFiles());
  const longestWindow = (ids: number[]) => {
    let longest = 0;
    const counting = {
      hasText: (id: number) => tokenizer.hasText(id),
      decode: (window: readonly number[]) => {
        longest = Math.max(longest, window.length);
        return tokenizer.decode(window);
      },
    };
    const detokenizer = new Detokenizer(counting);
    const text = ids.map((id) => detokenizer.push(id)).join('') + detokenizer.flush();
    assert.equal(text, tokenizer.decode(ids));
    return longest;
  };
  assert.ok(longestWindow(tokenizer.encode('plain text. '.repeat(20), breaker)) <= 2);
  // Bytes that never make a character: every window ends with one that may be incomplete.
  assert.ok(longestWindow(Array.from({ length: 500 }, (_, i) => (i % 2 === 0 ? 0xff : 0xe4))) <= 20);
});

test('long runs of bytes that begin and break off characters, streamed, are the text of all of them', () => {
  const tokenizer = new Tokenizer(byteLevelFiles());
  const random = seededRandom(3);
  const bytes = [0xf0, 0x9f, 0xa6, 0x99, 0xe2, 0xc3, 0xff];
  for (let round = 0; round < 3000; round++) {
    const ids = Array.from({ length: 60 }, () => bytes[Math.floor(random() * bytes.length)]!);
    assert.equal(stream(tokenizer, ids).join(''), tokenizer.decode(ids));
  }
});

const tiny: [string, TokenizerFiles][] = [
  [
    'byte-level',
    byteLevelFiles([
      ['Ġ', 'ð'],
      ['ä', '½'],
    ]),
  ],
  ['byte-fallback', byteFallbackFiles()],
  ['metaspace', metaspaceFiles('always')],
];

for (const [name, files] of tiny) {
  test(`random ids of a ${name} vocabulary, streamed, are the text of all of them`, () => {
    assertStreamsAsDecoded(new Tokenizer(files), vocabularySize(files), 3000, 20);
  });
}

for (const name of sharedTokenizers) {
  test(`random ids and known texts of ${name}, streamed, are the text of all of them`, () => {
    const files = sharedTokenizerFiles(name);
    const tokenizer = new Tokenizer(files);
    for (const text of sharedJson('tokenizers/strings.json') as string[]) {
      const ids = tokenizer.encode(text, breaker);
      assert.equal(stream(tokenizer, ids).join(''), tokenizer.decode(ids));
    }
    assertStreamsAsDecoded(tokenizer, vocabularySize(files), 300, 100);
  });
}

function vocabularySize({ tokenizer }: TokenizerFiles): number {
  const { vocab } = tokenizer.model as { vocab: object };
  return Object.keys(vocab).length + (tokenizer.added_tokens as unknown[]).length;
}

function assertStreamsAsDecoded(
  tokenizer: Tokenizer,
  vocabulary: number,
  rounds: number,
  length: number,
): void {
  const random = seededRandom(5);
  for (let round = 0; round < rounds; round++) {
    const ids = Array.from({ length: Math.ceil(random() * length) }, () => Math.floor(random() * vocabulary));
    const pieces = stream(tokenizer, ids);
    assert.equal(pieces.join(''), tokenizer.decode(ids), JSON.stringify(ids));
    for (const piece of pieces) assert.ok(!/[\uD800-\uDFFF]/u.test(piece));
  }
}
