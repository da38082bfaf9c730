/**
 * `npm run eval`: the gates of the shipped model, through the product's own engine.
 *
 * Asks the shipped quantized model, and a float32 build of the same checkpoint, every held-out question:
 * values that were not in training, and phrasings that were not. Exits 1 where a gate is missed.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildModel } from '../src/builder/build-model.ts';
import { type Evaluation, type Example, evaluate, percent } from '../src/cli/evaluate.ts';
import { Progress } from '../src/cli/progress.ts';
import { shippedModel } from '../src/lib/package-root.ts';
import { heldOutSets } from './train/data/sets.ts';

/** Percent of exact answers that the shipped model must reach, and percentage points it may lose. */
const gates = { values: 98, phrasings: 90, lost: 1 };

const checkpoint = join(shippedModel(), '..', 'checkpoint');
const sets = heldOutSets();
const work = mkdtempSync(join(tmpdir(), 'slmd-eval-'));
try {
  const float32 = join(work, 'float32');
  await buildModel(checkpoint, float32, { quantization: 'float32' });
  const shipped = await evaluateSets('shipped', shippedModel());
  const reference = await evaluateSets('float32', float32);
  report(shipped, reference);
} finally {
  rmSync(work, { recursive: true });
}

interface Sets {
  values: Evaluation;
  phrasings: Evaluation;
}

async function evaluateSets(label: string, modelDir: string): Promise<Sets> {
  return {
    values: await evaluateSet(`${label}, held-out values`, modelDir, sets.values),
    phrasings: await evaluateSet(`${label}, held-out phrasings`, modelDir, sets.phrasings),
  };
}

async function evaluateSet(
  label: string,
  modelDir: string,
  examples: readonly Example[],
): Promise<Evaluation> {
  const progress = new Progress(label);
  const onProgress = (done: number, total: number) => progress.report(done, total);
  const evaluation = await evaluate(modelDir, examples, { threads: 0, max_tokens: 128, onProgress });
  progress.end();
  return evaluation;
}

function report(shipped: Sets, reference: Sets): void {
  const { model } = shipped.values.info;
  console.log(`${model.id}: ${(model.parameters / 1e6).toFixed(2)} M parameters, ${model.quantization}`);
  console.log('exact answers, %       questions   shipped   float32');
  for (const name of ['values', 'phrasings'] as const) {
    const kinds = Object.keys(shipped[name].by_kind).sort();
    for (const kind of kinds)
      row(`  ${name}: ${kind}`, shipped[name].by_kind[kind]!, reference[name].by_kind[kind]!);
    row(`held-out ${name}`, shipped[name].all, reference[name].all);
  }
  for (const name of ['values', 'phrasings'] as const) {
    const reached = percent(shipped[name].all);
    const lost = percent(reference[name].all) - reached;
    gate(`held-out ${name} at least ${gates[name]} %`, reached >= gates[name]);
    gate(`held-out ${name} within ${gates.lost} point of float32`, lost <= gates.lost);
  }
}

function row(label: string, shipped: Evaluation['all'], reference: Evaluation['all']): void {
  const cells = [shipped.asked, percent(shipped).toFixed(2), percent(reference).toFixed(2)];
  console.log(`${label.padEnd(22)} ${cells.map((cell) => String(cell).padStart(9)).join(' ')}`);
}

function gate(what: string, passed: boolean): void {
  console.log(`${passed ? 'pass' : 'FAIL'}  ${what}`);
  if (!passed) process.exitCode = 1;
}
