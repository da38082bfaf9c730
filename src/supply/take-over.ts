import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { SlmdError } from '../lib/errors.ts';
import { manifestOf, writeManifest } from '../model/adopt.ts';
import type { ForeignWish } from '../model/foreign.ts';
import { type Manifest, manifestFile } from '../model/manifest.ts';
import { readManifest } from '../model/verified-manifest.ts';
import { SupplyError } from './errors.ts';
import { readSource } from './source.ts';

/**
 * Gives a model that others laid out a manifest, so that the engine holds its files to what they are now. What
 * was pulled must be what came.
 *
 * A model that has a manifest keeps it, unless another of its graphs is asked for.
 *
 * @param wish a graph by its name; without one, that which is chosen already, or the best for this board
 * @returns false where there is no model that runs
 * @throws {SlmdError} `hash_mismatch`, `model_missing`, `model_invalid`, `model_unsupported`
 */
export async function takeOver(
  dir: string,
  { variant, kind }: Pick<ForeignWish, 'variant' | 'kind'> = {},
): Promise<boolean> {
  const known = await stat(join(dir, manifestFile)).catch(() => null);
  if (known !== null && variant === undefined) return true;
  if (known !== null && (await readManifest(dir, null)).manifest.layout === undefined)
    throw new SlmdError('model_missing', `${dir} has one graph, and no variants`);
  const derived = await manifestOf(dir, { variant, kind });
  if (derived === null) return false;
  await assertAsPulled(dir, derived.manifest);
  await writeManifest(dir, derived.manifest);
  return true;
}

async function assertAsPulled(dir: string, { files }: Manifest): Promise<void> {
  const source = await readSource(dir);
  for (const [path, { sha256 }] of Object.entries(files)) {
    const pulled = source?.files[path];
    if (pulled === undefined || pulled.sha256 === sha256) continue;
    const line = `${join(dir, path)} is not what was pulled: remove the model and pull it again`;
    throw new SupplyError('hash_mismatch', line);
  }
}
