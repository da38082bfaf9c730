import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSchema } from '../../src/contract/schema/read.ts';
import { grammarOf } from '../../src/grammar/ebnf.ts';
import { Matcher } from '../../src/grammar/matcher.ts';
import { vocabularyOf } from '../../src/grammar/vocabulary.ts';
import { Detokenizer } from '../../src/model/detokenizer.ts';
import { Tokenizer } from '../../src/model/tokenizer.ts';
import { randomNumbers } from '../support/random.ts';
import { validatorOf } from '../support/schemas.ts';
import { sharedTokenizerFiles, sharedTokenizers } from '../support/tokenizers.ts';

const schema = {
  type: 'object',
  properties: {
    name: { type: 'string' },
    code: { type: 'string', pattern: '^[a-zé€]{2}-[0-9]+$' },
    mood: { enum: ['on', 'off', 'naïve 😀'] },
    note: { type: 'string', minLength: 2, maxLength: 9 },
    slug: { type: 'string', pattern: '^[a-zé ]{3,7}$' },
    title: { anyOf: [{ type: 'string', maxLength: 3 }, { type: 'null' }] },
    state: { anyOf: [{ type: 'string', minLength: 4, maxLength: 6 }, { const: 'on' }] },
    values: { type: 'array', items: { type: 'number', minimum: -1, maximum: 1 }, maxItems: 3 },
  },
  required: ['name', 'code', 'mood', 'note', 'slug', 'title', 'state'],
};

for (const name of sharedTokenizers)
  test(`[SLMD-FMT-1] what the masks leave of the tokens of ${name} is valid once it is decoded`, async () => {
    const files = sharedTokenizerFiles(name);
    const tokenizer = new Tokenizer(files);
    const size = Object.keys((files.tokenizer.model as { vocab: object }).vocab).length;
    const matcher = new Matcher(vocabularyOf(size + 1, (id) => tokenizer.bytesOf(id), new Set([size])));
    const read = readSchema(schema);
    assert.ok('root' in read);
    const random = randomNumbers(size);
    const closers = [...Array(size).keys()].filter((id) => closes(tokenizer.bytesOf(id)));
    const isValid = validatorOf(schema);
    let whole = 0;
    for (let round = 0; round < 10; round++) {
      let choice = await matcher.open(grammarOf(read));
      const detokenizer = new Detokenizer(tokenizer);
      let text = '';
      for (let i = 0; i < 300 && !choice.complete; i++) {
        const isAllowed = (id: number) => (choice.mask[id >> 5]! & (1 << (id & 31))) !== 0;
        const closing = random() < 0.4 ? closers.filter(isAllowed) : [];
        const from = closing.length > 0 ? closing : [...Array(size).keys()].filter(isAllowed);
        const id = from[Math.floor(random() * from.length)] as number;
        text += detokenizer.push(id);
        choice = await matcher.accept(id);
      }
      if (!choice.complete) continue;
      text += detokenizer.flush();
      assert.ok(isValid(JSON.parse(text)), text);
      whole++;
    }
    assert.ok(whole > 3, `only ${whole} came to an end`);
  });

/** A quote or a bracket: without a lean towards them no text would end. */
function closes(bytes: Uint8Array | undefined): boolean {
  return bytes?.some((byte) => '"]}'.includes(String.fromCharCode(byte))) ?? false;
}
