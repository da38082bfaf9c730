import { rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeForeign, type ForeignModel, type ForeignWish } from './foreign.ts';
import { hashFile } from './hash-file.ts';
import { formatManifest, type Manifest, manifestFile } from './manifest.ts';

export interface Adopted {
  model: ForeignModel;
  manifest: Manifest;
}

/**
 * The manifest of a model that others laid out, with the hash of each of its files as it is now.
 *
 * @param onBytes told how many bytes were hashed
 * @returns null where the directory holds no such model
 * @throws {SlmdError<ModelErrorCode>} as `describeForeign`
 */
export async function manifestOf(
  dir: string,
  wish: ForeignWish = {},
  onBytes: (bytes: number) => void = () => undefined,
): Promise<Adopted | null> {
  const model = await describeForeign(dir, wish);
  if (model === null) return null;
  const files: Manifest['files'] = {};
  for (const path of model.files) {
    const { size } = await stat(join(dir, path));
    files[path] = { sha256: await hashFile(join(dir, path), onBytes), bytes: size };
  }
  return { model, manifest: { ...model.manifest, files } };
}

/** Writes a manifest into a model's directory: from here on its files are what they were. */
export async function writeManifest(dir: string, manifest: Manifest): Promise<void> {
  const path = join(dir, manifestFile);
  await writeFile(`${path}.new`, formatManifest(manifest), { flush: true });
  await rename(`${path}.new`, path);
}
