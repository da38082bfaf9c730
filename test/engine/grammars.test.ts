import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Grammars } from '../../src/grammar/grammars.ts';
import { vocabularyOf } from '../../src/grammar/vocabulary.ts';

const end = 256;
const never = new AbortController().signal;
const quiet = () => undefined;
const word = { type: 'json_schema' as const, schema: { enum: ['on'] } };
/** Each character that may be left is a state, and each state a look at the vocabulary. */
const heavy = {
  type: 'json_schema' as const,
  schema: {
    type: 'array',
    prefixItems: [199, 211, 223, 227, 229, 233].map((minLength) => ({ type: 'string', minLength })),
  },
};

function grammars(compile_ms_max?: number) {
  let built = 0;
  const vocabulary = () => {
    built++;
    return vocabularyOf(end + 1, (id) => (id < end ? Uint8Array.of(id) : undefined), new Set([end]));
  };
  const limit = compile_ms_max === undefined ? {} : { compile_ms_max };
  return { grammars: new Grammars({ vocabulary, ...limit }), built: () => built };
}

/** What the constraint leaves of 257 equal logits. */
function left(mask: (logits: Float32Array) => void): string {
  const logits = new Float32Array(end + 1);
  mask(logits);
  return [...logits.keys()]
    .filter((id) => logits[id] === 0)
    .map((id) => (id === end ? 'end' : String.fromCharCode(id)))
    .join('');
}

test('a mask leaves what may come next and nothing else, until the text is whole', async (t) => {
  const { grammars: some, built } = grammars();
  t.after(() => some.close());
  assert.equal(built(), 0);
  const constraint = await some.open(word, quiet, never);
  assert.ok(constraint !== undefined);
  for (const character of '"on"') {
    assert.equal(
      left((logits) => constraint.mask(logits)),
      character,
    );
    assert.ok(!constraint.complete);
    await constraint.accept(character.charCodeAt(0));
  }
  assert.ok(constraint.complete);
  assert.equal(
    left((logits) => constraint.mask(logits)),
    'end',
  );
  constraint.close();
  await some.open(word, quiet, never);
  assert.equal(built(), 1);
});

test('answers at the same time have a thread each, and one that is given up takes no other along', async (t) => {
  const { grammars: some, built } = grammars(1500);
  t.after(() => some.close());
  const constraint = await some.open(word, quiet, never);
  await assert.rejects(some.open(heavy, quiet, never), { code: 'schema_unsupported' });
  await constraint?.accept('"'.charCodeAt(0));
  assert.equal(
    left((logits) => constraint?.mask(logits)),
    'o',
  );
  constraint?.close();
  assert.ok((await some.open(word, quiet, never)) !== undefined);
  assert.equal(built(), 2);
});

test('[SLMD-FMT-4] a schema that takes too long is refused, after signs of life', async (t) => {
  const { grammars: some } = grammars(1500);
  t.after(() => some.close());
  let signs = 0;
  await assert.rejects(
    some.open(heavy, () => signs++, never),
    { code: 'schema_unsupported' },
  );
  assert.ok(signs > 0);
});

test('[SLMD-FMT-4] a schema whose texts need too many states is refused, and the thread goes on', async (t) => {
  const { grammars: some, built } = grammars();
  t.after(() => some.close());
  const states = { type: 'string', pattern: '[ab]*a[ab]{20}' };
  await assert.rejects(some.open({ type: 'json_schema', schema: states }, quiet, never), {
    code: 'schema_unsupported',
  });
  assert.ok((await some.open(word, quiet, never)) !== undefined);
  assert.equal(built(), 1);
});

test('a cancel ends the wait for a schema at once', async (t) => {
  const { grammars: some } = grammars();
  t.after(() => some.close());
  const cancel = new AbortController();
  const waiting = some.open(heavy, () => cancel.abort(), cancel.signal);
  assert.equal(await waiting, undefined);
  assert.ok((await some.open(word, quiet, never)) !== undefined);
});

test('more schemas than are kept are all right, one after another and again', async (t) => {
  const { grammars: some } = grammars();
  t.after(() => some.close());
  for (let round = 0; round < 2; round++)
    for (let i = 0; i < 12; i++) {
      const constraint = await some.open({ type: 'json_schema', schema: { const: i } }, quiet, never);
      assert.equal(
        left((logits) => constraint?.mask(logits)),
        String(i)[0],
      );
      constraint?.close();
    }
});
