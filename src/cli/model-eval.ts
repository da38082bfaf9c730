import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import * as z from 'zod';
import { coded } from './coded.ts';
import { type Evaluation, type Example, evaluate, percent } from './evaluate.ts';
import { CommandError, exitCodes } from './exit-codes.ts';
import { modelContext, storeOptions, storeUsage } from './model-context.ts';
import { numberOption } from './number-option.ts';
import { Progress } from './progress.ts';

export const evalUsage = `slmd model eval <model> --data <file.jsonl> [options]

Asks a model every question of a file, greedily, through the engine, and counts exact answers.

  --data <file>      lines of {"prompt": "…", "expected": "…", "kind": "…"}; kind is optional
  --show <n>         prints the first n questions that were answered otherwise
  --min <percent>    exit code 1 where fewer answers are exact
  --max-tokens <n>   default 128
  --threads <n>      default: the engine chooses
  --json             prints the evaluation as JSON
${storeUsage}`;

const exampleSchema = z.object({ prompt: z.string(), expected: z.string(), kind: z.string().default('all') });

export async function modelEval(args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      ...storeOptions,
      data: { type: 'string' },
      show: { type: 'string', default: '0' },
      min: { type: 'string', default: '0' },
      'max-tokens': { type: 'string', default: '128' },
      threads: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false },
    },
  });
  const [model] = positionals;
  if (model === undefined || positionals.length > 1 || values.data === undefined)
    throw new CommandError(exitCodes.usage, `one model and --data are needed\n\n${evalUsage}`);

  const [threads, max_tokens, shown, least] = (['threads', 'max-tokens', 'show', 'min'] as const).map(
    (name) => numberOption(name, values[name]),
  ) as [number, number, number, number];
  const examples = readExamples(values.data);
  const { store, config } = modelContext(values);
  const progress = new Progress('asking');
  let evaluation: Evaluation;
  try {
    evaluation = await evaluate(store.find(model), examples, {
      kind: config.model.variant,
      threads,
      max_tokens,
      onProgress: (done, total) => progress.report(done, total),
    });
  } catch (error) {
    coded(error);
  }
  progress.end();
  if (values.json) console.log(JSON.stringify(evaluation, null, 2));
  else show(evaluation, shown);
  if (percent(evaluation.all) < least)
    throw new CommandError(
      exitCodes.failed,
      `${percent(evaluation.all).toFixed(2)} % is under ${values.min} %`,
    );
}

function readExamples(file: string): Example[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    throw new CommandError(exitCodes.failed, `${file} cannot be read`);
  }
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.map((line, i) => {
    try {
      return exampleSchema.parse(JSON.parse(line));
    } catch {
      throw new CommandError(exitCodes.failed, `${file}:${i + 1} is not a question`);
    }
  });
}

function show({ info, all, by_kind, missed }: Evaluation, misses: number): void {
  console.log(`${info.model.id} (${info.model.quantization})`);
  for (const [kind, tally] of [...Object.entries(by_kind), ['all', all] as const])
    console.log(
      `  ${kind.padEnd(12)} ${String(tally.exact).padStart(5)} of ${tally.asked}  ${percent(tally).toFixed(2)} %`,
    );
  for (const { example, answer } of missed.slice(0, misses))
    console.log(`\n  asked     ${example.prompt}\n  expected  ${example.expected}\n  answered  ${answer}`);
}
