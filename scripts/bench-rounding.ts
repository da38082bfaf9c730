/**
 * `npm run bench:rounding -- [--sequences n] [--context n] [model directory …]`: whether what a model's guessed
 * tokens are bound by holds.
 *
 * Each model, or the one that ships, reads random tokens one at a time and several at a time. Prints how often
 * another token came first, and how much of a lead was lost at most, over what is taken for doubtful. Exits 1 where
 * that is 1 or more: then an answer with guessed tokens could be another one.
 */

import { parseArgs } from 'node:util';
import { shippedModel } from '../src/lib/package-root.ts';
import { roundingOf } from './bench/rounding.ts';
import { table } from './bench/table.ts';

const { values, positionals } = parseArgs({
  options: {
    sequences: { type: 'string', default: '16' },
    context: { type: 'string', default: '256' },
  },
  allowPositionals: true,
});
const options = { sequences: Number(values.sequences), contextLength: Number(values.context) };
const rows = [['model', 'difference', 'tokens', 'doubtful', 'turned', 'its lead', 'lead lost']];
let holds = true;
for (const dir of positionals.length === 0 ? [shippedModel()] : positionals) {
  const { difference, tokens, doubtful, turned, turnedLead, lost } = await roundingOf(dir, options);
  const numbers = [
    difference.toPrecision(3),
    tokens,
    doubtful,
    turned,
    turnedLead.toFixed(3),
    lost.toFixed(3),
  ];
  rows.push([dir, ...numbers.map(String)]);
  holds &&= lost < 1;
}
console.log(table(rows));
process.exitCode = holds ? 0 : 1;
