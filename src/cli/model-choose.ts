import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BuildOptions, buildModel } from '../builder/build-model.ts';
import { readArchitecture } from '../builder/config.ts';
import { planBuild } from '../builder/options.ts';
import { intoDirectory } from '../builder/out-directory.ts';
import { packedBytes } from '../builder/survey.ts';
import type { Manifest } from '../model/manifest.ts';
import { type Comparison, compareModels } from '../oracle/compare.ts';
import { type OnStep, recordComparison } from './model-compare.ts';

type Layout = Required<Pick<BuildOptions, 'quantization' | 'blockSize'>>;

const layouts: readonly Layout[] = [
  { quantization: 'int4', blockSize: 32 },
  { quantization: 'int4', blockSize: 64 },
  { quantization: 'int4', blockSize: 128 },
  { quantization: 'int8', blockSize: 32 },
];

const ranks = { good: 2, fair: 1, poor: 0 } as const;

/** A layout, and how fast it is for one model. */
export interface Candidate {
  layout: Layout;
  /** What each token reads. */
  bytes: number;
}

export interface Tried extends Candidate {
  comparison: Comparison;
}

/**
 * Layouts by the bytes that a token reads, the fewest first: the first good one is the fastest good one. Large
 * blocks come first unless they have to be filled up, because they do not divide the columns.
 */
export async function fastestFirst(
  checkpoint: string,
  options: Omit<BuildOptions, keyof Layout>,
): Promise<Candidate[]> {
  const architecture = await readArchitecture(checkpoint);
  const candidates: Candidate[] = [];
  for (const layout of layouts) {
    const plan = planBuild(architecture, 'candidate', { ...options, ...layout });
    candidates.push({ layout, bytes: await packedBytes(architecture, plan) });
  }
  return candidates.sort((a, b) => a.bytes - b.bytes);
}

export interface ChoiceOptions {
  threads: number;
  onStep: OnStep;
  onTried(tried: Tried): void;
  onChosen(tried: Tried): void;
}

/**
 * Builds a checkpoint in the layout that a comparison with its float32 build chooses: the first one that
 * is good, else the best of all. What was tried is beside the result until it is there, the best alone.
 *
 * @param onTried told what each layout that was tried loses
 * @param onChosen told which one of them it is
 * @throws BuildError, SlmdError
 */
export async function buildChosen(
  checkpoint: string,
  out: string,
  options: Omit<BuildOptions, keyof Layout>,
  { threads, onStep, onTried, onChosen }: ChoiceOptions,
): Promise<Manifest> {
  return intoDirectory(out, options.force ?? false, async (dir) => {
    const work = join(dir, 'tried');
    const build = (name: string, more: BuildOptions) => {
      const onProgress = onStepOf(`building ${name}`, onStep);
      return buildModel(checkpoint, join(work, name), { ...options, ...more, onProgress });
    };
    await build('float32', { quantization: 'float32', kvCache: 'float32', id: 'float32' });
    let best: Tried | null = null;
    for (const candidate of await fastestFirst(checkpoint, options)) {
      const name = nameOf(candidate.layout);
      await build(name, candidate.layout);
      const comparison = await compareModels(join(work, name), join(work, 'float32'), {
        threads,
        onProgress: (done, total) => onStep(`comparing ${name}`, done, total),
      });
      const tried: Tried = { ...candidate, comparison };
      onTried(tried);
      const worse: Tried | null = best !== null && !isBetter(comparison, best.comparison) ? tried : best;
      if (worse !== tried) best = tried;
      if (worse !== null) await rm(join(work, nameOf(worse.layout)), { recursive: true });
      if (comparison.verdict === 'good') break;
    }
    onChosen(best!);
    await moveInto(dir, join(work, nameOf(best!.layout)));
    await rm(work, { recursive: true });
    return recordComparison(dir, best!.comparison);
  });
}

async function moveInto(dir: string, from: string): Promise<void> {
  for (const name of await readdir(from)) await rename(join(from, name), join(dir, name));
}

function nameOf({ quantization, blockSize }: Layout): string {
  return `${quantization}-b${blockSize}`;
}

function isBetter(a: Comparison, b: Comparison): boolean {
  if (ranks[a.verdict] !== ranks[b.verdict]) return ranks[a.verdict] > ranks[b.verdict];
  return a.answers.greedy_agreement > b.answers.greedy_agreement;
}

function onStepOf(label: string, onStep: OnStep): NonNullable<BuildOptions['onProgress']> {
  return ({ bytesDone, bytesTotal }) => onStep(label, bytesDone, bytesTotal);
}
