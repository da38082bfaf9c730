import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answered } from '../../src/contract/compose.ts';
import { schemaBounds } from '../../src/contract/schema/bounds.ts';
import { readSchema } from '../../src/contract/schema/read.ts';
import { read, refusalOf, requestOf } from '../support/messages.ts';

/** Where a schema is refused; null where it is read. */
function refusedAt(schema: unknown): string | null {
  const reading = readSchema(schema);
  return 'root' in reading ? null : reading.path;
}

const text = { type: 'string' };
const object = { type: 'object', properties: { a: text } };
const kind = (name: string) => ({ ...object, properties: { kind: { const: name } }, required: ['kind'] });

test('[SLMD-FMT-2] what would not be enforced is refused, and named by its JSON pointer', () => {
  const cases: [schema: unknown, path: string][] = [
    [false, '#'],
    [7, '#'],
    [{ type: 'text' }, '#/type'],
    [{ type: [] }, '#/type'],
    [{ type: 'constructor' }, '#/type'],
    [{ type: ['string', '__proto__'] }, '#/type'],
    [JSON.parse('{"enum":[1,1e400]}'), '#'],
    [JSON.parse('{"const":{"a":[1e400]}}'), '#'],
    [JSON.parse('{"type":"string","__proto__":{}}'), '#/__proto__'],
    [{ not: {} }, '#/not'],
    [{ ...text, not: { const: 'a' } }, '#/not'],
    [{ type: 'integer', if: {}, else: {} }, '#/if'],
    [{ type: 'integer', multipleOf: 3 }, '#/multipleOf'],
    [{ type: 'array', uniqueItems: true }, '#/uniqueItems'],
    [{ type: 'array', contains: text }, '#/contains'],
    [{ type: 'array', items: [text] }, '#/items'],
    [{ type: 'array', prefixItems: [text], items: text }, '#/items'],
    [{ type: 'array', prefixItems: [text], minItems: 2 }, '#/prefixItems'],
    [{ type: 'array', prefixItems: [text], maxItems: 0 }, '#/prefixItems'],
    [{ type: 'array', unevaluatedItems: false }, '#/unevaluatedItems'],
    [{ type: 'object', patternProperties: { a: text } }, '#/patternProperties'],
    [{ type: 'object', propertyNames: text }, '#/propertyNames'],
    [{ type: 'object', minProperties: 1 }, '#/minProperties'],
    [{ ...object, dependentRequired: {} }, '#/dependentRequired'],
    [{ ...object, additionalProperties: text }, '#/additionalProperties'],
    [{ ...object, required: ['a', 'b'] }, '#/required/1'],
    [{ ...object, anyOf: [{ required: ['a'] }] }, '#/type'],
    [
      { type: 'object', properties: { 'a/b': { type: 'array', items: { nullable: true } } } },
      '#/properties/a~1b/items/nullable',
    ],
    [{ minLength: 3 }, '#/minLength'],
    [{ ...text, minimum: 3 }, '#/minimum'],
    [{ ...text, format: 'uri' }, '#/format'],
    [{ ...text, format: 'constructor' }, '#/format'],
    [{ ...text, pattern: 'a(?=b)' }, '#/pattern'],
    [{ ...text, pattern: '(a)\\1' }, '#/pattern'],
    [{ ...text, pattern: '\\ba' }, '#/pattern'],
    [{ ...text, pattern: 'a^b' }, '#/pattern'],
    [{ ...text, pattern: '\\p{L}' }, '#/pattern'],
    [{ ...text, pattern: '(' }, '#/pattern'],
    [{ ...text, pattern: 'a', minLength: 1 }, '#'],
    [{ ...text, format: 'date', pattern: 'a' }, '#'],
    [{ $ref: 'https://example.com/a' }, '#/$ref'],
    [{ $ref: '#/$defs/a' }, '#/$ref'],
    [{ $ref: '#/$defs/a', minLength: 1, $defs: { a: text } }, '#/minLength'],
    [{ allOf: [text, { minLength: 1 }] }, '#/allOf'],
    [{ anyOf: [] }, '#/anyOf'],
    [{ anyOf: [text, { anyOf: [{ dependentSchemas: {} }] }] }, '#/anyOf/1/anyOf/0/dependentSchemas'],
    [{ oneOf: [{ type: 'integer' }, { type: 'number' }] }, '#/oneOf'],
    [{ oneOf: [object, object] }, '#/oneOf'],
    [{ oneOf: [kind('a'), { ...kind('b'), required: [] }] }, '#/oneOf'],
    [{ oneOf: [kind('a'), kind('a')] }, '#/oneOf'],
    [{ enum: [1], oneOf: [] }, '#/oneOf'],
    [{ oneOf: [{ const: { a: 1, b: 2 } }, { const: { b: 2, a: 1 } }] }, '#/oneOf'],
    [{ ...text, $id: 'https://example.com', properties: {} }, '#/properties'],
    [{ type: 'array', items: { $id: 'a' } }, '#/items/$id'],
  ];
  for (const [schema, path] of cases) assert.equal(refusedAt(schema), path, JSON.stringify(schema));
});

test('[SLMD-FMT-2] what no value, or no value with an end, can follow is refused', () => {
  for (const schema of [
    { enum: [] },
    { type: 'string', enum: ['a', 1] },
    { ...text, minLength: 3, maxLength: 2 },
    { type: 'array', minItems: 3, maxItems: 2 },
    { type: 'array', items: false, minItems: 1 },
    { type: 'integer', minimum: 1.2, maximum: 1.8 },
    { type: 'integer', exclusiveMinimum: 1, maximum: 1 },
    { type: 'number', exclusiveMinimum: 1, maximum: 1 },
    { type: 'number', exclusiveMinimum: 1, exclusiveMaximum: 1.000001 },
    { $ref: '#' },
    { anyOf: [{ $ref: '#' }, text] },
    { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] },
    { type: 'array', items: { $ref: '#' }, minItems: 1 },
    { type: 'array', prefixItems: [{ $ref: '#/$defs/a' }], $defs: { a: { anyOf: [{ $ref: '#' }] } } },
  ])
    assert.notEqual(refusedAt(schema), null, JSON.stringify(schema));
});

test('[SLMD-FMT-2] what is in the table is read', () => {
  const tree = {
    type: 'object',
    properties: { name: text, children: { type: 'array', items: { $ref: '#' } } },
  };
  for (const schema of [
    {},
    true,
    tree,
    {
      ...text,
      title: 'a',
      description: 'b',
      default: 1,
      examples: [],
      $comment: 'c',
      $schema: 'd',
      $id: 'e',
    },
    { type: ['string', 'null'], minLength: 1 },
    { type: 'string', enum: ['a'] },
    { const: null },
    { allOf: [{ $ref: '#/definitions/a' }], description: 'x', definitions: { a: text } },
    { $ref: '#/$defs/a~1b%20c', $defs: { 'a/b c': text } },
    { oneOf: [text, { type: 'null' }] },
    { oneOf: [kind('a'), kind('b')] },
    { type: 'object', additionalProperties: { type: 'number', minimum: 0.5 } },
    { type: 'object', additionalProperties: false },
    { ...text, pattern: '^(?:[a-z]{2,}|\\d+?)\\.x$|^y$' },
    { ...text, format: 'date-time' },
  ])
    assert.equal(refusedAt(schema), null, JSON.stringify(schema));
});

test('[SLMD-FMT-4] a schema at a bound is read, and one beyond it is refused', () => {
  const nested = (depth: number): unknown =>
    depth === 0 ? text : { type: 'array', items: nested(depth - 1) };
  const many = (count: number) => ({ enum: Array.from({ length: count }, (_, i) => i) });
  const { depth_max, nesting_max, entries_max, repeat_max, items_max, bytes_max } = schemaBounds;
  const nest = (levels: number): unknown => (levels === 0 ? 1 : [nest(levels - 1)]);
  for (const [within, beyond] of [
    [nested(depth_max), nested(depth_max + 1)],
    [many(entries_max), many(entries_max + 1)],
    [{ const: nest(nesting_max - 1) }, { const: nest(nesting_max) }],
    [
      { ...text, default: nest(nesting_max - 1) },
      { ...text, default: nest(nesting_max) },
    ],
    [
      { ...text, maxLength: repeat_max },
      { ...text, maxLength: repeat_max + 1 },
    ],
    [
      { ...text, pattern: `a{${repeat_max}}` },
      { ...text, pattern: `a{${repeat_max + 1}}` },
    ],
    [
      { ...text, pattern: '([a-z]{64}){32}' },
      { ...text, pattern: '(([a-z]{64}){32}){256}' },
    ],
    [
      { type: 'array', maxItems: items_max },
      { type: 'array', maxItems: items_max + 1 },
    ],
  ]) {
    assert.equal(refusedAt(within), null);
    assert.notEqual(refusedAt(beyond), null);
  }
  const sized = (bytes: number) => {
    const schema = { ...text, description: '' };
    schema.description = 'x'.repeat(bytes - JSON.stringify(schema).length);
    return { prompt: 'hi', response_format: { type: 'json_schema', json_schema: { schema } } };
  };
  const roomy = { payload_bytes_max: 100_000 };
  assert.equal(read(sized(bytes_max), {}, roomy).kind, 'prompt');
  assert.equal(read(sized(bytes_max + 1), {}, roomy).kind, 'refusal');
});

test('[SLMD-FMT-2] a refusal says where in one line, names no value, and is not longer than a sentence', () => {
  const schema = { type: 'object', properties: { ['x'.repeat(1000)]: { not: { const: 'secret' } } } };
  const refusal = refusalOf({
    prompt: 'hi',
    response_format: { type: 'json_schema', json_schema: { schema } },
  });
  assert.equal(refusal.error.code, 'schema_unsupported');
  assert.match(refusal.error.message, /^#\/properties\/x+/);
  assert.ok(refusal.error.message.length < 400);
  assert.doesNotMatch(refusal.error.message, /secret/);
});

test('[SLMD-FMT-1] OpenAI’s form is read; its name, description and strict change nothing', () => {
  const form = { name: 'lamp', description: 'a lamp', strict: true, schema: object };
  const asked = { prompt: 'hi', response_format: { type: 'json_schema', json_schema: form } };
  assert.deepEqual(requestOf(asked).response_format, { type: 'json_schema', schema: object });
  assert.equal(requestOf({ prompt: 'hi', response_format: { type: 'text' } }).response_format, null);
  assert.equal(requestOf('hi').response_format, null);
});

test('[SLMD-FMT-3] a result has json where it was asked for: the value, or null where the answer is not whole', () => {
  const stamps = { started_at: 1, tokenized_at: 1, first_token_at: 1, last_token_at: 1 };
  const board = { soc_temp_c: null, throttled: [], energy_j: null, energy_source: 'none' as const };
  const origin = { device: 'kitchen', model: 'fake', board };
  const usage = {
    prompt_tokens: 1,
    cached_tokens: 0,
    completion_tokens: 1,
    speculated_tokens: 0,
    accepted_tokens: 0,
    rerun_tokens: 0,
  };
  const asked = requestOf({ prompt: 'hi', response_format: { type: 'json_object' } });
  const json = (text: string, format_complete: boolean, request = asked) =>
    answered(request, { text, format_complete, finish_reason: 'stop', usage, stamps }, 1, null, origin);
  assert.deepEqual(json('{"a": [1]}', true).json, { a: [1] });
  assert.equal(json('{"a": [1', false).json, null);
  assert.equal(json('12', false).json, null);
  assert.ok(!('json' in json('{}', false, requestOf('hi'))));
  const nested = (depth: number) => `${'['.repeat(depth)}"]\\"["${']'.repeat(depth)}`;
  assert.notEqual(json(nested(256), true).json, null);
  assert.equal(json(nested(257), true).json, null);
  assert.equal(json(nested(100_000), true).json, null);
});
