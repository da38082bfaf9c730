import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { manifestFile } from '../model/manifest.ts';
import { BuildError } from './errors.ts';

/**
 * Lets `write` fill a temporary directory beside `outDir`, and renames it when that has succeeded.
 *
 * @param force replace what is there, provided it is a model directory or empty
 * @throws BuildError `out_exists`, before `write` is called
 */
export async function intoDirectory<T>(
  outDir: string,
  force: boolean,
  write: (dir: string) => Promise<T>,
): Promise<T> {
  const target = resolve(outDir);
  const existing = await requireReplaceable(target, force);
  await mkdir(dirname(target), { recursive: true });
  const work = await mkdtemp(join(dirname(target), `.${basename(target)}.`));
  try {
    const built = join(work, 'new');
    await mkdir(built);
    const result = await write(built);
    await replace(target, built, existing === null ? null : join(work, 'old'));
    return result;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Makes sure that a build may go there. @returns the names in it; null when there is no such directory */
async function requireReplaceable(outDir: string, force: boolean): Promise<string[] | null> {
  const existing = await listing(outDir);
  if (existing !== null && !force) throw new BuildError('out_exists', `${outDir} is already there`);
  if (existing !== null && existing.length > 0 && !existing.includes(manifestFile)) {
    throw new BuildError('out_exists', `${outDir} is not a model directory, and is not replaced`);
  }
  return existing;
}

/** Moves what is at `target` to `old`, and `built` to its place; when that fails, it is moved back. */
async function replace(target: string, built: string, old: string | null): Promise<void> {
  if (old !== null) await rename(target, old);
  try {
    await rename(built, target);
  } catch (error) {
    if (old !== null) await rename(old, target);
    throw error;
  }
}

/** The names in a directory; null when there is none. */
async function listing(dir: string): Promise<string[] | null> {
  try {
    return await readdir(dir);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return null;
    if (code === 'ENOTDIR') throw new BuildError('out_exists', `${dir} is a file`);
    throw error;
  }
}
