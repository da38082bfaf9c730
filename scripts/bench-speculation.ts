/**
 * `npm run bench:speculation -- [--always] [--shape <name>]`: what guessed tokens win, in processor time.
 *
 * The shipped model answers its held-out questions with drafts and without, in one KV cache, in turns. Sentences about
 * sensors repeat words of the question; refusals repeat nothing. Then it answers the commands under two schemas, which
 * foretell much of an answer. With `--shape`, a model of random weights answers them: told what to say it is never in
 * doubt, in its own words it always is; the time is that of its shape. Exits 1 where two answers differ.
 *
 * `--always` runs every draft that is found, whether it pays or not.
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { shippedModel } from '../src/lib/package-root.ts';
import { type DraftedAnswers, openBoth } from './bench/drafted-answers.ts';
import { buildBenchModels } from './bench/models/build.ts';
import { forms } from './bench/schema-questions.ts';
import { table } from './bench/table.ts';
import { heldOutSets } from './train/data/sets.ts';

/** A draft at this cost is always worth a run. */
const nothing = [0.01, 0.02, 0.03];
/** Of a shape, which takes much longer than the shipped model. */
const shapeQuestions = 40;

const { values } = parseArgs({
  options: { always: { type: 'boolean', default: false }, shape: { type: 'string' } },
});
const told = values.shape !== undefined;
const dir = values.shape === undefined ? shippedModel() : await modelOf(values.shape);
const model = await openBoth(dir, values.always ? nothing : null);
console.log(`a run with 1, 2, 3 drafted tokens takes ${model.costs.join(', ')} times one without`);
const sets = heldOutSets();
const questions = [...sets.values, ...sets.phrasings];
const ofKind = (wanted: string) => questions.filter(({ kind }) => kind === wanted);
const numbers = 'tokens, drafted, accepted, again, without ms, with ms, gain, median, differ'.split(', ');
const lines = [['questions', '', ...numbers]];
let differing = 0;
const add = (name: string, answers: DraftedAnswers) => {
  lines.push(lineOf(name, answers));
  differing += answers.differ;
};
if (!told)
  for (const kind of ['sensor', 'command', 'other'])
    add(kind, await model.compare(ofKind(kind), { form: null, told }));
const commands = told ? ofKind('command').slice(0, shapeQuestions) : ofKind('command');
for (const [name, form] of Object.entries(forms)) add(name, await model.compare(commands, { form, told }));
if (told)
  for (const [name, form] of Object.entries(forms))
    add(`${name}, in its own words`, await model.compare(commands, { form, told: false }));
console.log(table(lines));
await model.close();
process.exitCode = differing === 0 ? 0 : 1;

async function modelOf(shape: string): Promise<string> {
  const cache = join(import.meta.dirname, '..', '.cache', 'bench', 'models');
  const { slmd } = await buildBenchModels(cache, shape, (step) => console.error(step));
  return slmd['block 32'];
}

function lineOf(name: string, answers: DraftedAnswers): string[] {
  const { questions, tokens, drafted, accepted, again, withoutMs, withMs, medianGain, differ } = answers;
  const times = [withoutMs.toFixed(0), withMs.toFixed(0)];
  const gains = [withoutMs / withMs, medianGain].map((gain) => `${gain.toFixed(2)}×`);
  return [name, ...[questions, tokens, drafted, accepted, again, ...times, ...gains, differ].map(String)];
}
