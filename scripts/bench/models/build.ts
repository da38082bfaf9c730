import { existsSync } from 'node:fs';
import { copyFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type BuildOptions, buildModel } from '../../../src/builder/build-model.ts';
import { shippedModel } from '../../../src/lib/package-root.ts';
import { writeRandomCheckpoint } from '../random-checkpoint.ts';
import { shapes } from '../shapes.ts';
import { writeHubModel } from './hub-model.ts';
import { writeLlamaCppModel } from './llama-cpp-model.ts';

/** What slmd is measured in. The first is what its peers have, too. */
const layouts = {
  'block 32': { blockSize: 32 },
  'block 64': { blockSize: 64 },
  'block 128': { blockSize: 128 },
  'int8 KV': { blockSize: 32, kvCache: 'int8' },
} as const satisfies Record<string, BuildOptions>;
export type LayoutName = keyof typeof layouts;
export const layoutNames = Object.keys(layouts) as LayoutName[];

/** One checkpoint of random weights in every form that is measured. */
export interface BenchModels {
  /** slmd's model directories. */
  slmd: Record<LayoutName, string>;
  hub: string;
  gguf: string;
}

/** Counted up where what is built changes, so that nothing earlier is taken for it. */
const form = 5;

/** Told what is being built, and that it is done. */
type OnStep = (step: string) => void;

/**
 * Builds what a shape is measured with, or takes what an earlier run has built.
 *
 * Scales are found the quick way: they decide what a weight is, not how long it takes.
 */
export async function buildBenchModels(cache: string, shape: string, onStep: OnStep): Promise<BenchModels> {
  const dir = join(cache, `${shape}-${form}`);
  if (!existsSync(dir)) {
    const unfinished = `${dir}.unfinished`;
    await rm(unfinished, { recursive: true, force: true });
    await buildAll(unfinished, shape, onStep);
    await rename(unfinished, dir);
  }
  return pathsOf(dir);
}

function pathsOf(dir: string): BenchModels {
  const slmd = layoutNames.map((name) => [name, join(dir, `int4-${name.replace(' ', '-').toLowerCase()}`)]);
  return {
    slmd: Object.fromEntries(slmd) as BenchModels['slmd'],
    hub: join(dir, 'hub'),
    gguf: join(dir, 'q4_0.gguf'),
  };
}

async function buildAll(dir: string, shape: string, onStep: OnStep): Promise<void> {
  const checkpoint = join(dir, 'checkpoint');
  const paths = pathsOf(dir);
  onStep(`${shape}: random weights`);
  await writeRandomCheckpoint(checkpoint, shapes[shape]!);
  await copyTokenizer(checkpoint);
  for (const name of layoutNames) {
    onStep(`${shape}: int4, ${name}`);
    await buildModel(checkpoint, paths.slmd[name], { ...layouts[name], id: 'bench', scales: 'nearest' });
  }
  onStep(`${shape}: for transformers.js`);
  await writeHubModel(checkpoint, paths.hub);
  onStep(`${shape}: Q4_0, for llama.cpp`);
  await writeLlamaCppModel(checkpoint, paths.gguf);
  await rm(checkpoint, { recursive: true });
}

/** Any will do for a model without a language, as long as its ids are in the vocabulary. */
async function copyTokenizer(checkpoint: string): Promise<void> {
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    await copyFile(join(shippedModel(), name), join(checkpoint, name));
}
