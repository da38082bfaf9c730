import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { ResponseFormat } from '../../src/contract/prompt.ts';
import { readSchema } from '../../src/contract/schema/read.ts';
import { grammarOf } from '../../src/grammar/ebnf.ts';
import { type Choice, Matcher } from '../../src/grammar/matcher.ts';
import { quietWorker } from '../../src/grammar/quiet-worker.ts';
import { Refusals } from '../../src/grammar/refusals.ts';
import { vocabularyOf } from '../../src/grammar/vocabulary.ts';
import { GrammarWalk } from '../support/grammar-walk.ts';
import { temporaryDir } from '../support/temporary.ts';

function written(schema: unknown) {
  const read = readSchema(schema);
  assert.ok('root' in read);
  return grammarOf(read);
}

/** Each byte, and these texts, as tokens; then the end. */
function matcherOf(texts: readonly string[]): Matcher {
  const bytesOf = (id: number) => (id < 256 ? Uint8Array.of(id) : Buffer.from(texts[id - 256] ?? ''));
  const end = 256 + texts.length;
  return new Matcher(vocabularyOf(end + 1, bytesOf, new Set([end])));
}

/** Which of the texts may come after the bytes of `begun`. */
async function texts(matcher: Matcher, of: readonly string[], schema: unknown, begun: string) {
  let choice: Choice = await matcher.open(written(schema));
  for (const byte of Buffer.from(begun)) choice = await matcher.accept(byte);
  const isAllowed = (id: number) => (choice.mask[id >> 5]! & (1 << (id & 31))) !== 0;
  return of.filter((_, i) => isAllowed(256 + i));
}

const tokens = [
  'a',
  'abc',
  'abcd',
  'é€',
  '😀😀😀',
  'ab"',
  'abcd"',
  '",',
  '","',
  '","x',
  '"x',
  '""',
  ' "',
  '\u0001',
];
const matcher = matcherOf(tokens);
const left = (schema: unknown, begun: string) => texts(matcher, tokens, schema, begun);

test('[SLMD-FMT-1] a token that brings a text over its length, or ends it below, is not left', async () => {
  const schema = { type: 'string', minLength: 2, maxLength: 4 };
  assert.deepEqual(await left(schema, '"'), ['a', 'abc', 'abcd', 'é€', '😀😀😀', 'ab"', 'abcd"']);
  assert.deepEqual(await left(schema, '"é'), ['a', 'abc', 'é€', '😀😀😀', 'ab"', ' "']);
  assert.deepEqual(await left(schema, '"€€€'), ['a', ' "']);
  assert.deepEqual(await left(schema, '"abcd'), []);
});

test('[SLMD-FMT-1] each text is counted by its own length, whatever was written before it', async () => {
  const item = { type: 'string', maxLength: 3 };
  const schema = { type: 'array', prefixItems: [item, { type: 'string' }, { type: 'string', minLength: 1 }] };
  assert.deepEqual(await left(schema, '["abc'), ['",', '","']);
  assert.ok((await left(schema, '["abc","')).includes('abcd"'));
  assert.ok(!(await left(schema, '["abc","\\"ab","')).includes('",'));
  assert.ok((await left(schema, '["abc","\\"ab","x')).includes('abcd'));
});

test('[SLMD-FMT-1] a token that opens a text and goes on in it is left only where nothing is counted', async () => {
  const pair = (maxLength?: number) => ({
    type: 'array',
    items: { type: 'string', ...(maxLength && { maxLength }) },
  });
  assert.deepEqual(await left(pair(5), '['), []);
  assert.deepEqual(await left(pair(), '['), ['",', '","', '"x', '""']);
  assert.ok(!(await left(pair(5), '["a')).includes('","x'));
  assert.ok((await left(pair(), '["a')).includes('","x'));
});

test('a grammar is the same for each length, so that a long one costs what a short one does', () => {
  const short = written({ type: 'string', maxLength: 2 });
  const long = written({ type: 'string', minLength: 200, maxLength: 256 });
  assert.equal(short.ebnf, long.ebnf);
  assert.deepEqual(long.lengths, [{ min: 200, max: 256 }]);
});

test('[SLMD-FMT-1] where a text may be another alternative, both are held to what they are', async () => {
  const walk = new GrammarWalk();
  const named = (type: string, maxLength: number) => ({
    type: 'object',
    properties: { type: { const: type }, text: { type: 'string', maxLength }, to: { const: type } },
    required: ['type', 'text', 'to'],
  });
  const early = { anyOf: [named('a', 2), named('b', 4)] };
  assert.equal(written(early).lengths.length, 2);
  assert.equal(await walk.allows(early, '{"type":"b","text":"abcd","to":"b"}'), true);
  assert.equal(await walk.allows(early, '{"type":"a","text":"abcd","to":"a"}'), false);
  const { type: _, ...late } = named('a', 2).properties;
  const { type: __, ...other } = named('b', 4).properties;
  const alike = {
    anyOf: [late, other].map((properties) => ({ type: 'object', properties, required: ['text', 'to'] })),
  };
  assert.equal(written(alike).lengths.length, 0);
  assert.equal(await walk.allows(alike, '{"text":"abcd","to":"b"}'), true);
  assert.equal(await walk.allows(alike, '{"text":"abcd","to":"a"}'), false);
  const word = { anyOf: [{ type: 'string', maxLength: 2 }, { enum: ['kitchen'] }] };
  assert.equal(await walk.allows(word, '"kitchen"'), true);
  assert.equal(await walk.allows(word, '"kit"'), false);
});

test('[SLMD-FMT-1] a pattern that is one kind of character, so many times, is counted as any text is', async () => {
  const walk = new GrammarWalk();
  const pattern = (source: string) => ({ type: 'string', pattern: source });
  assert.deepEqual(written(pattern('^[a-zé€]{2,100}$')).lengths, [{ min: 2, max: 100 }]);
  assert.equal(await walk.allows(pattern('^[a-zé€]{2,3}$'), '"aé€"'), true);
  for (const text of ['"a"', '"aé€a"', '"aA"', '"é"'])
    assert.equal(await walk.allows(pattern('^[a-zé€]{2,3}$'), text), false, text);
  // Of a quote and a letter the letter is what needs no escape; of a quote alone nothing is counted.
  assert.equal(await walk.allows(pattern('^["a]{2}$'), '"aa"'), true);
  assert.deepEqual(written(pattern('^"{2,3}$')).lengths, []);
  assert.equal(await walk.allows(pattern('^"{2,3}$'), '"\\"\\""'), true);
  assert.deepEqual(await left(pattern('^[a-c]{1,2}$'), '"'), ['a', 'ab"']);
});

test('texts of the same characters are one rule, however long each is', () => {
  const items = (lengths: number[]) => ({
    type: 'array',
    prefixItems: lengths.map((maxLength) => ({ type: 'string', maxLength })),
  });
  const rules = (lengths: number[]) => written(items(lengths)).ebnf.split('\n').length;
  assert.ok(rules([5, 6, 7, 8]) - rules([5, 6, 7]) <= 3, written(items([5, 6, 7, 8])).ebnf);
});

test('[SLMD-FMT-1] a word that another alternative allows anyway is no alternative of its own', async () => {
  const walk = new GrammarWalk();
  const of = (...words: unknown[]) => ({ anyOf: [{ enum: words }, { type: 'string', maxLength: 3 }] });
  assert.equal(written(of('on', 'é€😀')).lengths.length, 1);
  assert.equal(written(of('on', 'a"b')).lengths.length, 0);
  assert.equal(written(of('on', 'long')).lengths.length, 0);
  assert.equal(written(of('on', 7, null)).lengths.length, 1);
  for (const [text, allowed] of [
    ['"on"', true],
    ['7', true],
    ['"abc"', true],
    ['"abcd"', false],
    ['8', false],
  ] as const)
    assert.equal(await walk.allows(of('on', 7, null), text), allowed, text);
  assert.equal(await walk.allows(of('on', 'a"b', 'long'), '"a\\"b"'), true);
  assert.equal(await walk.allows(of('on', 'a"b', 'long'), '"long"'), true);
});

test('[SLMD-FMT-1] a definition is counted where it stands alone and not where it is an alternative', async () => {
  const walk = new GrammarWalk();
  const schema = {
    type: 'array',
    prefixItems: [{ $ref: '#/$defs/short' }, { anyOf: [{ const: 'kitchen' }, { $ref: '#/$defs/short' }] }],
    $defs: { short: { type: 'string', maxLength: 2 } },
  };
  assert.equal(await walk.allows(schema, '["ab","ab"]'), true);
  assert.equal(await walk.allows(schema, '["ab","kitchen"]'), true);
  assert.equal(await walk.allows(schema, '["abc","ab"]'), false);
  assert.equal(await walk.allows(schema, '["ab","abc"]'), false);
});

test('[SLMD-FMT-1] more lengths than there are marks are all held', async () => {
  const walk = new GrammarWalk();
  const prefixItems = Array.from({ length: 70 }, (_, i) => ({ type: 'string', maxLength: i }));
  const value = prefixItems.map((_, i) => 'x'.repeat(i));
  assert.equal(await walk.allows({ type: 'array', prefixItems }, JSON.stringify(value)), true);
  for (const place of [63, 64, 69]) {
    const long = value.with(place, `x${value[place]}`);
    assert.equal(await walk.allows({ type: 'array', prefixItems }, JSON.stringify(long)), false);
  }
});

test('[SLMD-FMT-4] of many refusals the oldest are forgotten', () => {
  const refusals = new Refusals(() => 0);
  const format = (i: number): ResponseFormat => ({ type: 'json_schema', schema: { const: i } });
  for (let i = 0; i < 65; i++) refusals.add(format(i), 'no');
  refusals.check(format(0));
  for (let i = 1; i < 65; i++) assert.throws(() => refusals.check(format(i)), { code: 'schema_unsupported' });
});

test('what a thread of the library writes is read, and kept nowhere', async (t) => {
  const file = join(temporaryDir(t), 'noisy.mjs');
  const noise = "import { parentPort } from 'node:worker_threads';\n";
  const both = "for (const out of [process.stdout, process.stderr]) out.write('x'.repeat(100_000));\n";
  await writeFile(file, `${noise}${both}parentPort.postMessage(null);\n`);
  const worker = quietWorker(pathToFileURL(file), null, []);
  t.after(() => worker.terminate());
  const within = { signal: AbortSignal.timeout(30_000) };
  await Promise.all([once(worker.stdout, 'end', within), once(worker.stderr, 'end', within)]);
  assert.equal(worker.stdout.readableLength + worker.stderr.readableLength, 0);
});
