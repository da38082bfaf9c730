/**
 * `node scripts/grammar-cost.ts [model directory | tokenizer.json]`: what structured answers cost with a
 * vocabulary, on this machine: the first schema (which loads everything), others, a mask, and memory. A schema that
 * was asked for lately is neither written as a grammar nor compiled again.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSchema } from '../src/contract/schema/read.ts';
import { anyObject } from '../src/contract/schema/shape.ts';
import { grammarOf } from '../src/grammar/ebnf.ts';
import type { WrittenGrammar } from '../src/grammar/marks.ts';
import { type Choice, Matcher } from '../src/grammar/matcher.ts';
import { vocabularyOf } from '../src/grammar/vocabulary.ts';
import { monotonicMs } from '../src/lib/clock.ts';
import { shippedModel } from '../src/lib/package-root.ts';
import { Tokenizer } from '../src/model/tokenizer.ts';

const text = { type: 'string' };
const ten = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`member_${i}`, text]));
const lengths = Object.fromEntries(
  Array.from({ length: 10 }, (_, i) => [`member_${i}`, { type: 'string', maxLength: 20 + i }]),
);
const schemas: [name: string, schema: unknown][] = [
  ['one integer', { type: 'object', properties: { a: { type: 'integer' } } }],
  ['ten texts', { type: 'object', properties: ten, required: Object.keys(ten) }],
  ['a date', { type: 'string', format: 'date' }],
  ['a number from 0 to 1', { type: 'number', minimum: 0, maximum: 1 }],
  ['maxLength 10', { type: 'string', maxLength: 10 }],
  ['maxLength 40', { type: 'string', maxLength: 40 }],
  ['maxLength 100', { type: 'string', maxLength: 100 }],
  ['maxLength 256', { type: 'string', maxLength: 256 }],
  ['ten lengths', { type: 'object', properties: lengths, required: Object.keys(lengths) }],
  ['a pattern of 100 letters', { type: 'string', pattern: '^[a-z ]{1,100}$' }],
  [
    'maxLength 40 or a longer word',
    { anyOf: [{ type: 'string', maxLength: 40 }, { const: '-'.repeat(41) }] },
  ],
];
const tokensMax = 200;

const { matcher, size } = matcherOf(process.argv[2] ?? shippedModel());
console.log(`vocabulary of ${size} tokens`);
await measure('json_object', () => grammarOf(anyObject));
for (const [name, schema] of schemas) {
  const read = readSchema(schema);
  if ('root' in read) await measure(name, () => grammarOf(read));
}
const mib = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;
console.log(`WebAssembly ${mib(matcher.memoryBytes)}, process ${mib(process.memoryUsage.rss())}`);

function matcherOf(path: string): { matcher: Matcher; size: number } {
  const file = path.endsWith('.json') ? path : join(path, 'tokenizer.json');
  const tokenizer = new Tokenizer({ tokenizer: JSON.parse(readFileSync(file, 'utf8')), config: {} });
  let size = 0;
  while (tokenizer.bytesOf(size) !== undefined || tokenizer.bytesOf(size + 1000) !== undefined) size++;
  const vocabulary = vocabularyOf(size + 1, (id) => tokenizer.bytesOf(id), new Set([size]));
  return { matcher: new Matcher(vocabulary), size };
}

/** Opens twice, compiled and kept, then writes tokens that the mask allows, spread over the vocabulary. */
async function measure(name: string, write: () => WrittenGrammar): Promise<void> {
  const asked = monotonicMs();
  const grammar = write();
  const began = monotonicMs();
  await matcher.open(grammar);
  const compiled = monotonicMs();
  let choice = await matcher.open(grammar);
  const opened = monotonicMs();
  const masks: number[] = [];
  while (!choice.complete && masks.length < tokensMax) {
    const before = monotonicMs();
    choice = await matcher.accept(allowedId(choice, masks.length * 7919));
    masks.push(monotonicMs() - before);
  }
  masks.sort((a, b) => a - b);
  const ms = (value: number | undefined) => `${(value ?? 0).toFixed(2)} ms`;
  const median = ms(masks[masks.length >> 1]);
  console.log(
    `${name}: written in ${ms(began - asked)}, compiled in ${ms(compiled - began)}, again ${ms(opened - compiled)}; mask ${median}, at most ${ms(masks.at(-1))} (${masks.length} tokens)`,
  );
}

function allowedId({ mask }: Choice, seed: number): number {
  for (let step = 0; step < size; step++) {
    const id = (seed + step) % size;
    if ((mask[id >> 5]! & (1 << (id & 31))) !== 0) return id;
  }
  throw new Error('the grammar allows nothing but the end');
}
