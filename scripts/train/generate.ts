// Writes the training set and both held-out sets as lines of JSON:
//   node scripts/train/generate.ts --seed 1 --out DIR [--lines 600000]
import { once } from 'node:events';
import { createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import type { Example } from './data/example.ts';
import { heldOutSets, trainingSet } from './data/sets.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    out: { type: 'string' },
    lines: { type: 'string', default: '600000' },
  },
});

if (values.out === undefined) throw new Error('usage: generate.ts --seed 1 --out DIR [--lines 600000]');
await generate(Number(values.seed), values.out, Number(values.lines));

async function generate(seed: number, directory: string, lines: number): Promise<void> {
  mkdirSync(directory, { recursive: true });
  const heldOut = heldOutSets(seed);
  writeFileSync(join(directory, 'held-out-values.jsonl'), heldOut.values.map(line).join(''));
  writeFileSync(join(directory, 'held-out-phrasings.jsonl'), heldOut.phrasings.map(line).join(''));
  const train = createWriteStream(join(directory, 'train.jsonl'));
  let chunk = '';
  for (const example of trainingSet(seed, lines)) {
    chunk += line(example);
    if (chunk.length < 1_000_000) continue;
    if (!train.write(chunk)) await once(train, 'drain');
    chunk = '';
  }
  train.end(chunk);
  await finished(train);
}

function line({ prompt, expected, kind }: Example): string {
  return `${JSON.stringify({ prompt, expected, kind })}\n`;
}
