/**
 * `npm run bench:speculation`: what guessed tokens win, on the shipped model's held-out questions.
 *
 * Each question is answered with drafts and without, by one model in one KV cache, in turns. Sentences about
 * sensors repeat words of the question; refusals repeat nothing. Exits 1 where two answers differ.
 *
 * `--always` runs every draft that is found, whether it pays or not.
 */

import { parseArgs } from 'node:util';
import { type Generation, type GenerationModel, generate } from '../src/engine/generate.ts';
import { Rows } from '../src/engine/rows.ts';
import { Speculation } from '../src/engine/speculation.ts';
import { measureRuns } from '../src/engine/speculation-probe.ts';
import { question } from '../src/ipc/question.ts';
import { shippedModel } from '../src/lib/package-root.ts';
import { readModelDirectory } from '../src/model/directory.ts';
import { openRuntime } from '../src/onnx/runtime.ts';
import { table } from './bench/table.ts';
import { heldOutSets } from './train/data/sets.ts';

/** A draft at this cost is always worth a run. */
const nothing = [0.01, 0.02, 0.03];

const { values } = parseArgs({ options: { always: { type: 'boolean', default: false } } });
const directory = await readModelDirectory(shippedModel(), null);
const contextLength = directory.manifest.context_length;
const { decoder } = await openRuntime('native').openDecoder(directory.graphPath, {
  threads: 1,
  contextLength,
});
const traits = await measureRuns(decoder);
if (traits === null) throw new Error('the shipped graph has the last logits alone');
console.log(`a run with 1, 2, 3 drafted tokens takes ${traits.costs.join(', ')} times one without`);
const plain: GenerationModel = {
  ...directory,
  rows: new Rows([decoder]),
  prefillChunkTokens: 128,
  maxTokensDefault: 128,
  grammars: { open: () => Promise.reject(new Error('no format is asked for')) },
  speculation: null,
};
const drafting = {
  ...plain,
  speculation: new Speculation(values.always ? { ...traits, costs: nothing } : traits),
};
const sets = heldOutSets();
const questions = [...sets.values, ...sets.phrasings];
const lines = [
  [
    'questions',
    'answers',
    'tokens',
    'drafted',
    'accepted',
    'again',
    'without, ms',
    'with, ms',
    'gain',
    'differ',
  ],
];
let differing = 0;
for (const kind of ['sensor', 'command', 'other']) {
  const asked = questions.filter((question) => question.kind === kind);
  const sum = { tokens: 0, drafted: 0, accepted: 0, again: 0, without: 0, with: 0, differ: 0 };
  for (const [i, { prompt }] of asked.entries()) {
    const first = await ask(i % 2 === 0 ? plain : drafting, prompt);
    const second = await ask(i % 2 === 0 ? drafting : plain, prompt);
    const [alone, drafted] = i % 2 === 0 ? [first, second] : [second, first];
    sum.tokens += drafted.usage.completion_tokens;
    sum.drafted += drafted.usage.speculated_tokens;
    sum.accepted += drafted.usage.accepted_tokens;
    sum.again += drafted.usage.rerun_tokens;
    sum.without += decodeMs(alone);
    sum.with += decodeMs(drafted);
    if (alone.text !== drafted.text) sum.differ++;
  }
  differing += sum.differ;
  const numbers = [
    asked.length,
    sum.tokens,
    sum.drafted,
    sum.accepted,
    sum.again,
    sum.without.toFixed(0),
    sum.with.toFixed(0),
  ];
  lines.push([kind, ...numbers.map(String), `${(sum.without / sum.with).toFixed(2)}×`, String(sum.differ)]);
}
console.log(table(lines));
await decoder.dispose();
process.exitCode = differing === 0 ? 0 : 1;

function ask(model: GenerationModel, content: string): Promise<Generation> {
  return generate(model, question(content, null), {}, new AbortController().signal);
}

function decodeMs({ stamps }: Generation): number {
  return stamps.last_token_at - stamps.first_token_at;
}
