import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GrammarOptions } from '../../src/grammar/grammar-thread.ts';
import { Grammars } from '../../src/grammar/grammars.ts';
import { vocabularyOf } from '../../src/grammar/vocabulary.ts';

const end = 256;
const never = new AbortController().signal;
const quiet = () => undefined;
const word = { type: 'json_schema' as const, schema: { enum: ['on'] } };
/** Each repeat of a pattern is a state, and each state a look at the vocabulary. */
const heavy = {
  type: 'json_schema' as const,
  schema: {
    type: 'array',
    prefixItems: [...'abcdefgh'].map((letter) => ({ type: 'string', pattern: `([^${letter}]x){125}` })),
  },
};

function grammars(options: Omit<GrammarOptions, 'vocabulary'> = {}) {
  let built = 0;
  const vocabulary = () => {
    built++;
    return vocabularyOf(end + 1, (id) => (id < end ? Uint8Array.of(id) : undefined), new Set([end]));
  };
  return { grammars: new Grammars({ vocabulary, ...options }), built: () => built };
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

test('schemas that differ in the order of their members alone are two, however often they take turns', async (t) => {
  const { grammars: some } = grammars();
  t.after(() => some.close());
  const value = { type: 'null' };
  const of = (...names: string[]) => ({
    type: 'json_schema' as const,
    schema: {
      type: 'object',
      properties: Object.fromEntries(names.map((name) => [name, value])),
      required: names,
    },
  });
  for (const names of [
    ['a', 'b'],
    ['b', 'a'],
    ['a', 'b'],
    ['b', 'a'],
  ]) {
    const constraint = await some.open(of(...names), quiet, never);
    assert.ok(constraint !== undefined);
    for (const character of '{"') await constraint.accept(character.charCodeAt(0));
    assert.equal(
      left((logits) => constraint.mask(logits)),
      names[0],
    );
    constraint.close();
  }
});

test('answers at the same time have a thread each, and one that is given up takes no other along', async (t) => {
  const { grammars: some, built } = grammars({ compile_ms_max: 1500 });
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
  const { grammars: some } = grammars({ compile_ms_max: 1500 });
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

test('[SLMD-FMT-4] a schema that took too long is refused at once when it comes again, until ten minutes later', async (t) => {
  let now = 0;
  const { grammars: some, built } = grammars({ compile_ms_max: 1500, now: () => now });
  t.after(() => some.close());
  await assert.rejects(some.open(heavy, quiet, never), { code: 'schema_unsupported' });
  const untouched = () => assert.fail('it is prepared again');
  now = 599_999;
  await assert.rejects(some.open(structuredClone(heavy), untouched, never), { code: 'schema_unsupported' });
  assert.equal(built(), 1);
  assert.ok((await some.open(word, quiet, never)) !== undefined);
  now = 600_000;
  await assert.rejects(some.open(heavy, quiet, never), { code: 'schema_unsupported' });
  assert.equal(built(), 3);
});

test('a thread that holds too much memory is replaced once its answer is over, and not before', async (t) => {
  const { grammars: some, built } = grammars({ memory_bytes_max: 1 });
  t.after(() => some.close());
  const constraint = await some.open(word, quiet, never);
  for (const character of '"o') await constraint?.accept(character.charCodeAt(0));
  assert.equal(built(), 1);
  constraint?.close();
  assert.ok((await some.open(word, quiet, never)) !== undefined);
  assert.equal(built(), 2);
});

test('a thread below its bound of memory goes on with the next answer', async (t) => {
  const { grammars: some, built } = grammars();
  t.after(() => some.close());
  for (let answer = 0; answer < 3; answer++) (await some.open(word, quiet, never))?.close();
  assert.equal(built(), 1);
});
