import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { hashFile } from '../model/hash-file.ts';
import { manifestFile } from '../model/manifest.ts';
import type { SignatureState } from '../model/signature.ts';
import { checkFiles, readManifest } from '../model/verified-manifest.ts';
import { SupplyError } from './errors.ts';
import { readSource } from './source.ts';

export interface Verified {
  dir: string;
  /** By the manifest, or, for what was pulled and is no model of slmd, by the record of the pull. */
  by: 'manifest' | 'pull';
  files: number;
  bytes: number;
  signature: SignatureState | null;
}

/** Whether anything says what the files of a model are to be: what others laid out may lie there as it came. */
export async function isVouchedFor(dir: string): Promise<boolean> {
  return existsSync(join(dir, manifestFile)) || (await readSource(dir)) !== null;
}

/**
 * Reads every byte of a model and compares it with what it was when it was made or pulled.
 *
 * @param onProgress told what part of all bytes is checked
 * @throws {SlmdError} naming the file that is another, or the signature that is missing or wrong
 */
export async function verifyModel(
  dir: string,
  trust: Trust | null,
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<Verified> {
  const source = await readSource(dir);
  const read = await readManifest(dir, trust).catch((error: unknown) => {
    if ((error as { code?: unknown }).code === 'model_missing' && source !== null) return null;
    throw error;
  });
  const files = read?.manifest.files ?? source?.files ?? {};
  const bytes = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  const onBytes = (count: number) => {
    done += count;
    onProgress(done, bytes);
  };
  if (read !== null) await checkFiles(dir, read.manifest, onBytes);
  else for (const [path, file] of Object.entries(files)) await checkPulled(join(dir, path), file, onBytes);
  const count = Object.keys(files).length;
  return {
    dir,
    by: read === null ? 'pull' : 'manifest',
    files: count,
    bytes,
    signature: read?.signature ?? null,
  };
}

async function checkPulled(
  path: string,
  { sha256, bytes }: { sha256: string; bytes: number },
  onBytes: (bytes: number) => void,
): Promise<void> {
  const size = await stat(path).then(
    ({ size }) => size,
    () => null,
  );
  if (size === null) throw new SupplyError('size_mismatch', `${path} is gone: pull it again`);
  if (size !== bytes) throw new SupplyError('size_mismatch', `${path} has ${size} bytes and had ${bytes}`);
  if ((await hashFile(path, onBytes)) !== sha256)
    throw new SupplyError(
      'hash_mismatch',
      `${path} is not what was pulled: remove the model and pull it again`,
    );
}
