import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { buildModel } from '../builder/build-model.ts';
import { SlmdError } from '../lib/errors.ts';
import {
  formatManifest,
  type Manifest,
  manifestFile,
  manifestSchema,
  quantizationName,
  type Verification,
} from '../model/manifest.ts';
import { signatureFile } from '../model/signature.ts';
import { type Comparison, compareModels } from '../oracle/compare.ts';

export type OnStep = (label: string, done: number, total: number) => void;

/**
 * Compares a model with its float32 build, and writes the finding into its manifest.
 *
 * @param against a checkpoint, of which a float32 build is made and thrown away, or a model directory
 * @throws SlmdError; `model_signed` where the manifest must not be changed any more
 */
export async function verifyAgainst(
  dir: string,
  against: string,
  { threads, record, onStep }: { threads: number; record: boolean; onStep: OnStep },
): Promise<Comparison> {
  if (record && existsSync(join(dir, signatureFile)))
    throw new SlmdError('model_signed', `${dir} is signed: verify before you sign, or use --no-record`);
  const work = await mkdtemp(join(tmpdir(), 'slmd-verify-'));
  try {
    const reference = await referenceOf(against, work, onStep);
    const comparison = await compareModels(dir, reference, {
      threads,
      onProgress: (done, total) => onStep('comparing', done, total),
    });
    if (record) await recordComparison(dir, comparison, await readManifest(reference));
    return comparison;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function referenceOf(against: string, work: string, onStep: OnStep): Promise<string> {
  if (existsSync(join(against, manifestFile))) return against;
  const dir = join(work, 'float32');
  await buildModel(resolve(against), dir, {
    quantization: 'float32',
    id: 'float32',
    onProgress: ({ bytesDone, bytesTotal }) => onStep('building float32', bytesDone, bytesTotal),
  });
  return dir;
}

/** Writes what a comparison found into a model's manifest, which is then another one, of another hash. */
export async function recordComparison(
  dir: string,
  comparison: Comparison,
  reference: Manifest,
): Promise<Manifest> {
  const path = join(dir, manifestFile);
  const { files, ...rest } = await readManifest(dir);
  const manifest = { ...rest, verification: verificationOf(comparison, reference), files };
  await writeFile(`${path}.new`, formatManifest(manifest), { flush: true });
  await rename(`${path}.new`, path);
  return manifest;
}

function verificationOf(
  { verdict, answers, perplexity_ratio }: Comparison,
  reference: Manifest,
): Verification {
  const rounded = (value: number) => Number(value.toPrecision(4));
  return {
    verdict,
    against: quantizationName(reference.quantization),
    greedy_agreement: rounded(answers.greedy_agreement),
    kl_divergence: rounded(answers.kl_divergence),
    perplexity_ratio: perplexity_ratio === null ? null : rounded(perplexity_ratio),
  };
}

async function readManifest(dir: string): Promise<Manifest> {
  return manifestSchema.parse(JSON.parse(await readFile(join(dir, manifestFile), 'utf8')));
}
