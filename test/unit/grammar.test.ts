import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSchema } from '../../src/contract/schema/read.ts';
import { GrammarWalk } from '../support/grammar-walk.ts';
import { randomNumbers } from '../support/random.ts';
import { RandomSchemas, validatorOf } from '../support/schemas.ts';

const walk = new GrammarWalk();

/** Texts that the schema's grammar allows, and texts that it does not. */
async function holds(schema: unknown, allowed: string[], refused: string[]): Promise<void> {
  for (const text of allowed) {
    assert.equal(await walk.allows(schema, text), true, `${JSON.stringify(schema)} allows ${text}`);
    assert.equal(validatorOf(schema)(JSON.parse(text)), true, `${text} is valid`);
  }
  for (const text of refused)
    assert.equal(await walk.allows(schema, text), false, `${JSON.stringify(schema)} refuses ${text}`);
}

test('[SLMD-FMT-1] an integer is written as one, within its bounds and exactly', async () => {
  await holds(
    { type: 'integer' },
    ['0', '-7', '999999999999999'],
    ['-0', '00', '01', '1.0', '1e3', '1000000000000000', '', '-', '+1', ' 1'],
  );
  await holds(
    { type: 'integer', minimum: -12, maximum: 305 },
    ['-12', '-9', '0', '9', '10', '99', '100', '299', '305'],
    ['-13', '-20', '-0', '306', '310', '400', '1000', '3050'],
  );
  await holds(
    { type: 'integer', exclusiveMinimum: 8, exclusiveMaximum: 10.5 },
    ['9', '10'],
    ['8', '11', '9.0', '90'],
  );
});

test('[SLMD-FMT-1] a number is finite and within its bounds, whatever its decimals', async () => {
  await holds(
    { type: 'number' },
    ['0', '-0.5', '1e-7', '3.25E+10', '999999999999999e99'],
    ['1e999', '1e100', '.5', '1.', '01', 'NaN', '1000000000000000'],
  );
  await holds(
    { type: 'number', minimum: -0.25, exclusiveMaximum: 1.5 },
    ['-0.25', '-0.2', '-0.0001', '0', '0.0', '0.9999', '1', '1.4', '1.4999'],
    ['-0.26', '-0.251', '-1', '1.5', '1.50', '1.6', '2', '10', '-0'],
  );
  await holds(
    { type: 'number', exclusiveMinimum: 0 },
    ['0.01', '1', '999999999.99'],
    ['0', '0.0', '0.00', '-1', '1000000000.1', '69.191157', '69728259452948'],
  );
});

test('[SLMD-FMT-1] a text is JSON and UTF-8, and its length counts characters', async () => {
  await holds(
    { type: 'string' },
    ['""', '"a b"', '"é€😀"', '"\\n\\"\\\\\\/\\u00e9"', '"\\ud83d\\ude00"', '"\u007f\u2028"'],
    ['"\n"', '"\u0007"', '"\\x"', '"\\ud83d"', '"\\ude00\\ud83d"', '"\\u12g4"', 'a', '"a"b'],
  );
  await holds(
    { type: 'string', minLength: 1, maxLength: 3 },
    ['"a"', '"é€😀"', '"{}}"'],
    ['""', '"abcd"', '"é€😀a"', '"\\n"'],
  );
});

test('[SLMD-FMT-1] a pattern is matched whole, and what it holds is spelled as JSON', async () => {
  const pattern = (source: string) => ({ type: 'string', pattern: source });
  await holds(pattern('^[a-c]{2}-\\d+$|x?'), ['"ab-07"', '"x"', '""'], ['"ab-"', '"abc-1"', '"xx"', '" x"']);
  await holds(pattern('^"\\\\\\n$'), ['"\\"\\\\\\n"'], ['"""', '"\\"\\\\n"']);
  await holds(pattern('^[^a-z]$'), ['"A"', '"€"', '"😀"'], ['"a"', '"""', '"\\"', '"\n"', '"AA"']);
  await holds(pattern('^[à-ÿ]{2}$'), ['"éÿ"'], ['"é"', '"ée"', '"Ã©"', '"ÀÀ"']);
});

test('[SLMD-FMT-1] a format is the calendar’s and the clock’s, not only their digits', async () => {
  const format = (name: string) => ({ type: 'string', format: name });
  await holds(
    format('date'),
    ['"2024-02-29"', '"2000-02-29"', '"2023-12-31"', '"2023-11-30"'],
    ['"2023-02-29"', '"1900-02-29"', '"2023-11-31"', '"2023-00-10"', '"2023-13-01"', '"2023-1-1"'],
  );
  await holds(
    format('time'),
    ['"23:59:59Z"', '"00:00:00.5+02:00"'],
    ['"24:00:00Z"', '"12:00:00"', '"1:00:00Z"'],
  );
  await holds(format('date-time'), ['"2024-02-29T12:00:00Z"'], ['"2024-02-29 12:00:00Z"', '"2024-02-29"']);
  await holds(format('ipv4'), ['"0.255.10.1"'], ['"256.0.0.1"', '"1.2.3"', '"01.2.3.4"']);
  await holds(format('email'), ['"a.b+c@d-e.org"'], ['"a@b"', '"@b.org"', '"a@-b.org"']);
  await holds(format('uuid'), ['"00000000-0000-4000-8000-00000000000f"'], ['"0000"']);
});

test('[SLMD-FMT-1] members come in order, only those of the schema, with the commas between them', async () => {
  const properties = { a: { type: 'integer' }, b: { type: 'null' }, 'ü"': { type: 'boolean' } };
  await holds(
    { type: 'object', properties, required: ['b'] },
    ['{"b":null}', '{"a":1, "b": null}', '{"a":1,"b":null,"ü\\"":true}'],
    [
      '{}',
      '{"a":1}',
      '{"b":null,"a":1}',
      '{,"b":null}',
      '{"b":null,}',
      '{"b":null,"c":1}',
      '{"b":null,"b":null}',
    ],
  );
  await holds({ type: 'object', properties }, ['{}', '{"a":1}', '{"a":1,"ü\\"":false}'], ['{"a":1 }', '{ }']);
  await holds({ type: 'object', additionalProperties: false }, ['{}'], ['{"a":1}']);
  const map = { type: 'object', additionalProperties: { type: 'integer' } };
  await holds(map, ['{}', '{"x":1,"y":2}'], ['{"x":"1"}', '{x:1}']);
});

test('[SLMD-FMT-1] arrays have as many items as they may, and a tuple those of its places', async () => {
  const items = { type: 'boolean' };
  await holds({ type: 'array', items }, ['[]', '[true, false]'], ['[1]', '[true,]', '[true']);
  await holds(
    { type: 'array', items, minItems: 1, maxItems: 2 },
    ['[true]', '[true,true]'],
    ['[]', '[true,true,true]'],
  );
  await holds({ type: 'array', items, maxItems: 0 }, ['[]'], ['[true]']);
  await holds(
    { type: 'array', prefixItems: [items, { type: 'null' }] },
    ['[true,null]'],
    ['[]', '[true]', '[null,true]'],
  );
});

test('[SLMD-FMT-1] values, unions and references are what they stand for', async () => {
  await holds(
    { enum: ['a', 'ab', 1, { a: [null] }] },
    ['"a"', '"ab"', '1', '{"a":[null]}'],
    ['"b"', '11', '{}'],
  );
  await holds({ type: ['null', 'string'], maxLength: 1 }, ['null', '"a"'], ['"ab"', '1']);
  const tree = { type: 'object', properties: { next: { $ref: '#' } } };
  await holds(tree, ['{}', '{"next":{"next":{}}}'], ['{"next":null}']);
  await holds({}, ['1', '"a"', '[[], {"a":{}}]', 'null'], ['', 'nul', '[1,]']);
});

test('[SLMD-FMT-1] whatever the schema and the dice, a text that ended is valid under an independent validator', async () => {
  const random = randomNumbers(20_261_125);
  const schemas = new RandomSchemas(random);
  let texts = 0;
  for (let i = 0; i < 150; i++) {
    const schema = schemas.next();
    if (!('root' in readSchema(schema))) continue;
    const isValid = validatorOf(schema);
    for (let round = 0; round < 3; round++) {
      const text = await walk.text(schema, random, 3000);
      if (text === null) continue;
      assert.ok(isValid(JSON.parse(text)), `${text} is not valid under ${JSON.stringify(schema)}`);
      texts++;
    }
  }
  assert.ok(texts > 300, `only ${texts} texts came to an end`);
});
