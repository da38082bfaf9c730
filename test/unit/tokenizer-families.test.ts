import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { Detokenizer } from '../../src/model/detokenizer.ts';
import { Tokenizer, type TokenizerFiles } from '../../src/model/tokenizer.ts';

/** A tokenizer of a family's kind, and what the reference says of texts: see make_tokenizers.py. */
interface Golden extends TokenizerFiles {
  cases: { text: string; ids: number[]; framed: number[]; decoded: string }[];
}

const dir = join(import.meta.dirname, '../golden/tokenizers');
/** No text holds it: nothing is taken out. */
const breaker = '\uE000';

const broken: [string, RegExp, (tokenizer: Broken) => void][] = [
  ['no model', /model/, (t) => delete t.model],
  ['a model of another kind', /WordPiece/, (t) => Object.assign(t.model!, { type: 'WordPiece' })],
  ['no vocabulary', /vocab/, (t) => Object.assign(t.model!, { vocab: [] })],
  ['an id that is none', /"the"/, (t) => Object.assign(t.model!.vocab, { the: '5' })],
  ['no merges', /merges/, (t) => Object.assign(t.model!, { merges: null })],
  ['a merge that is no pair', /merges\.0/, (t) => Object.assign(t.model!, { merges: ['abc'] })],
  ['a merge of unknown tokens', /"qqzz"|"qq"/, (t) => Object.assign(t.model!, { merges: [['qq', 'zz']] })],
  [
    'an added token without an id',
    /added_tokens\.0/,
    (t) => Object.assign(t, { added_tokens: [{ content: 'x' }] }),
  ],
  ['a step that is not known', /Foo/, (t) => Object.assign(t, { pre_tokenizer: { type: 'Foo' } })],
  ['a decoder that is not known', /Foo/, (t) => Object.assign(t, { decoder: { type: 'Foo' } })],
];

interface Broken {
  model?: { vocab: object };
}

for (const [what, line, breakIt] of broken) {
  test(`a tokenizer.json with ${what} is refused, and the line names it`, () => {
    const { tokenizer, config } = JSON.parse(readFileSync(join(dir, 'llama3.json'), 'utf8')) as Golden;
    assert.doesNotThrow(() => new Tokenizer({ tokenizer, config }));
    breakIt(tokenizer as Broken);
    assert.throws(() => new Tokenizer({ tokenizer, config }), line);
  });
}

for (const file of readdirSync(dir)) {
  const golden = JSON.parse(readFileSync(join(dir, file), 'utf8')) as Golden;
  const tokenizer = new Tokenizer(golden);

  describe(`a tokenizer of the kind of ${file.replace('.json', '')}`, () => {
    test('gives every text the ids of the reference', () => {
      assert.ok(golden.cases.length > 20);
      for (const { text, ids } of golden.cases) {
        assert.deepEqual(tokenizer.encode(text, breaker), ids, JSON.stringify(text));
      }
    });

    test('frames a bare text as the reference does', () => {
      for (const { text, framed } of golden.cases) {
        // What spells a special token is text here, and is special to the reference.
        if (tokenizer.specialTokens.some((special) => text.includes(special))) continue;
        assert.deepEqual(tokenizer.encodeBare(text), framed, JSON.stringify(text));
      }
    });

    test('gives ids the text of the reference, at once and one by one', () => {
      for (const { ids, decoded } of golden.cases) {
        assert.equal(tokenizer.decode(ids), decoded);
        const detokenizer = new Detokenizer(tokenizer);
        const pieces = ids.map((id) => detokenizer.push(id));
        assert.equal(pieces.join('') + detokenizer.flush(), decoded);
      }
    });
  });
}
