import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BuildOptions, buildModel } from '../../src/builder/build-model.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';
import { writeTinyTokenizer } from './tiny-tokenizer.ts';

export interface TinyModelOptions {
  checkpoint?: TinyCheckpointOptions;
  build?: Omit<BuildOptions, 'onProgress' | 'signal' | 'force'>;
}

/**
 * Builds a complete model directory from random weights: a 2-layer Llama over bytes (260 tokens,
 * context 256), int4 unless told otherwise. `dir` must not exist.
 */
export async function makeTinyModel(
  dir: string,
  { checkpoint, build }: TinyModelOptions = {},
): Promise<Manifest> {
  const source = mkdtempSync(join(tmpdir(), 'slmd-tiny-checkpoint-'));
  try {
    writeTinyCheckpoint(source, checkpoint);
    writeTinyTokenizer(source);
    return await buildModel(source, dir, { id: 'tiny', ...build });
  } finally {
    rmSync(source, { recursive: true });
  }
}

const cache = new Map<string, Promise<string>>();
const made: string[] = [];
process.once('exit', () => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

/** As `makeTinyModel`, in a temporary directory that callers with the same options share: do not write to it. */
export function tinyModelDir(options: TinyModelOptions = {}): Promise<string> {
  const key = JSON.stringify(options);
  const known = cache.get(key) ?? build(options);
  cache.set(key, known);
  return known;
}

async function build(options: TinyModelOptions): Promise<string> {
  const parent = mkdtempSync(join(tmpdir(), 'slmd-tiny-model-'));
  made.push(parent);
  const dir = join(parent, 'tiny');
  await makeTinyModel(dir, options);
  return dir;
}
