import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tokenizer, type TokenizerFiles } from '../../src/model/tokenizer.ts';
import { randomNumbers } from '../support/random.ts';
import { byteLevelFiles, sharedTokenizerFiles, sharedTokenizers } from '../support/tokenizers.ts';

/** The text of ids by their bytes alone; what is no UTF-8 becomes U+FFFD, as in a decoder. */
function spelled(tokenizer: Tokenizer, ids: readonly number[]): string {
  return Buffer.concat(ids.map((id) => tokenizer.bytesOf(id) ?? new Uint8Array())).toString();
}

function agrees(files: TokenizerFiles, size: number): void {
  const tokenizer = new Tokenizer(files);
  const random = randomNumbers(size);
  let compared = 0;
  for (let round = 0; round < 200; round++) {
    const ids = Array.from({ length: 4 }, () => Math.floor(random() * size)).filter(
      (id) => tokenizer.bytesOf(id) !== undefined,
    );
    const decoded = tokenizer.decode(ids);
    const bytes = spelled(tokenizer, ids);
    // Some decoders drop the space at the beginning of a text, and write bytes that are no character differently.
    if (bytes.includes('\uFFFD') || decoded.includes('\uFFFD')) continue;
    assert.equal(decoded.trimStart(), bytes.trimStart());
    compared++;
  }
  assert.ok(compared > 20, `only ${compared} compared`);
}

test('a token’s bytes are what it adds to a text, in a byte-level vocabulary', () => {
  const files = byteLevelFiles([['a', 'b']]);
  const tokenizer = new Tokenizer(files);
  for (let byte = 0; byte < 256; byte++) assert.deepEqual([...(tokenizer.bytesOf(byte) ?? [])], [byte]);
  assert.equal(spelled(tokenizer, [256]), 'ab');
});

test('added tokens and ids that no token has add nothing', () => {
  const tokenizer = new Tokenizer(byteLevelFiles());
  for (const id of [256, 257, 258, 100_000]) assert.equal(tokenizer.bytesOf(id), undefined);
});

test('a token’s bytes are what it adds to a text, in a vocabulary with byte fallback', () => {
  const vocab = { '<unk>': 0, '<0x0A>': 1, '<0xE2>': 2, '<0x82>': 3, '<0xAC>': 4, '▁a': 5, b: 6, '▁': 7 };
  const decoder = {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
    ],
  };
  const tokenizer = new Tokenizer({
    tokenizer: {
      ...{ added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null, decoder },
      model: { type: 'BPE', vocab, merges: [], byte_fallback: true },
    },
    config: {},
  });
  assert.equal(spelled(tokenizer, [5, 6, 2, 3, 4, 1, 7]), ' ab€\n ');
  assert.equal(tokenizer.decode([5, 6, 2, 3, 4, 1, 7]).trimStart(), 'ab€\n ');
});

for (const name of sharedTokenizers)
  test(`bytes and text of random tokens agree in ${name}`, () => {
    const { vocab } = sharedTokenizerFiles(name).tokenizer.model as { vocab: Record<string, number> };
    agrees(sharedTokenizerFiles(name), Object.keys(vocab).length);
  });
