import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSchema } from '../../src/contract/schema/read.ts';
import { GrammarWalk } from '../support/grammar-walk.ts';
import { randomNumbers } from '../support/random.ts';
import { RandomSchemas } from '../support/schemas.ts';

const lamp = {
  type: 'object',
  properties: {
    action: { enum: ['turn_on', 'turn_off', 'dim'] },
    target: { type: 'string', maxLength: 12 },
    value: { anyOf: [{ type: 'number' }, { type: 'string' }] },
    rooms: { type: 'array', items: { enum: ['kitchen', 'attic'] }, minItems: 1 },
    more: { type: 'object', properties: { on: { type: 'boolean' } }, required: ['on'] },
  },
  required: ['action', 'target', 'value', 'rooms', 'more'],
};

async function foretells(schema: unknown, cases: Record<string, string>): Promise<void> {
  // A habit outlives an answer, but not a walk.
  for (const [text, foretold] of Object.entries(cases))
    assert.equal(await new GrammarWalk().foretold(schema, text), foretold, `behind ${text}`);
}

test('names, quotes and the rest of a word are foretold, and what is in a text is not', async () => {
  await foretells(lamp, {
    '': '{"action":"',
    '{"action":"d': 'im","target":"',
    '{"action":"t': 'urn_o',
    '{"action":"dim","target":"': '',
    '{"action":"dim","target":"la': '',
    '{"action":"dim","target":"a,': '',
    '{"action":"dim","target":"lamp",': '"value":',
    '{"action":"dim","target":"lamp","value":1,"rooms":["k': 'itchen","',
    '{"action":"dim","target":"lamp","value":1,"rooms":["attic"],': '"more":{"on":',
    '{"action":"dim","target":"lamp","value":1,"rooms":["attic"],"more":{"on":t': 'rue}}',
  });
});

test('where an object may end or go on it is foretold to go on, and at its last member to end', async () => {
  const schema = {
    type: 'object',
    properties: { a: { enum: ['xyz'] }, b: { enum: ['uvw'] } },
    required: ['a'],
  };
  await foretells(schema, { '{"a":"x': 'yz","b":"uvw"}', '{"a":"xyz",': '"b":"uvw"}' });
});

test('a space is foretold where the last name had one behind its colon', async () => {
  await foretells(lamp, {
    '{"action": "d': 'im", "target": "',
    '{"action": "dim","target":"lamp"': ',"value":',
    '{"action": "dim","target": "lamp"': ', "value":',
  });
});

test('a character of which only the beginning is certain is not foretold', async () => {
  const walk = new GrammarWalk();
  assert.equal(await walk.foretold({ enum: ['é', 'è'] }, ''), '"');
  assert.equal(await walk.foretold({ enum: ['aé', 'bè'] }, '"a'), 'é"');
});

test('what is foretold may be written, whatever the schema', async () => {
  const random = randomNumbers(11);
  const schemas = new RandomSchemas(random);
  const [writer, reader] = [new GrammarWalk(), new GrammarWalk()];
  let bytes = 0;
  for (let i = 0; i < 150; i++) {
    const schema = schemas.next();
    if (!('root' in readSchema(schema))) continue;
    const text = await writer.text(schema, random, 60);
    if (text === null) continue;
    const cut = [...text].slice(0, Math.floor(random() * [...text].length)).join('');
    const foretold = (await reader.foretold(schema, cut)) ?? '';
    // Of a character that was cut apart there is no telling.
    if (foretold.includes('\ufffd')) continue;
    assert.ok(
      await reader.begins(schema, cut + foretold),
      `${cut} and ${foretold}: ${JSON.stringify(schema)}`,
    );
    bytes += foretold.length;
  }
  assert.ok(bytes > 100, `${bytes}`);
});
