import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildModel } from '../builder/build-model.ts';
import { SlmdError } from '../lib/errors.ts';
import { checkpointFiles } from '../model/layout.ts';
import {
  formatManifest,
  type Manifest,
  manifestFile,
  manifestSchema,
  type Verification,
} from '../model/manifest.ts';
import { signatureFile } from '../model/signature.ts';
import { type CompareOptions, type Comparison, compareModels } from '../oracle/compare.ts';
import { takeOver } from '../supply/take-over.ts';

export type OnStep = (label: string, done: number, total: number) => void;

/**
 * Compares a model with its float32 build, and writes the finding into its manifest; a model that others laid out
 * gets one.
 *
 * @param against a checkpoint, of which a float32 build is made and thrown away, or a model directory
 * @throws SlmdError; `model_signed` where the manifest must not be changed any more
 */
export async function verifyAgainst(
  dir: string,
  against: string,
  {
    threads,
    kind,
    record,
    onStep,
  }: Pick<CompareOptions, 'threads' | 'kind'> & { record: boolean; onStep: OnStep },
): Promise<Comparison> {
  if (record && existsSync(join(dir, signatureFile)))
    throw new SlmdError('model_signed', `${dir} is signed: verify before you sign, or use --no-record`);
  const work = await mkdtemp(join(tmpdir(), 'slmd-verify-'));
  try {
    const reference = await referenceOf(against, work, onStep);
    const comparison = await compareModels(dir, reference, {
      threads,
      kind,
      onProgress: (done, total) => onStep('comparing', done, total),
    });
    if (record) {
      await takeOver(dir, { kind });
      await recordComparison(dir, comparison);
    }
    return comparison;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function referenceOf(against: string, work: string, onStep: OnStep): Promise<string> {
  if (!(await isCheckpoint(against))) return against;
  const dir = join(work, 'float32');
  await buildModel(resolve(against), dir, {
    quantization: 'float32',
    id: 'float32',
    onProgress: ({ bytesDone, bytesTotal }) => onStep('building float32', bytesDone, bytesTotal),
  });
  return dir;
}

async function isCheckpoint(dir: string): Promise<boolean> {
  const names = await readdir(dir).catch((): string[] => []);
  return !names.includes(manifestFile) && checkpointFiles(names).length > 0;
}

/** Writes what a comparison found into a model's manifest, which is then another one, of another hash. */
export async function recordComparison(dir: string, comparison: Comparison): Promise<Manifest> {
  const path = join(dir, manifestFile);
  const { files, ...rest } = await readManifest(dir);
  const manifest = { ...rest, verification: verificationOf(comparison), files };
  await writeFile(`${path}.new`, formatManifest(manifest), { flush: true });
  await rename(`${path}.new`, path);
  return manifest;
}

function verificationOf({ verdict, against, answers, perplexity_ratio }: Comparison): Verification {
  const rounded = (value: number) => Number(value.toPrecision(4));
  return {
    verdict,
    against,
    greedy_agreement: rounded(answers.greedy_agreement),
    kl_divergence: rounded(answers.kl_divergence),
    perplexity_ratio: perplexity_ratio === null ? null : rounded(perplexity_ratio),
  };
}

async function readManifest(dir: string): Promise<Manifest> {
  return manifestSchema.parse(JSON.parse(await readFile(join(dir, manifestFile), 'utf8')));
}
