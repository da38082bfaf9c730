import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { layoutOf } from '../model/layout.ts';
import { manifestFile } from '../model/manifest.ts';
import { readManifest } from '../model/verified-manifest.ts';
import { SupplyError } from './errors.ts';
import { type Disk, realDisk } from './pointer.ts';
import { readSmokePrompts, type SmokePrompt } from './smoke.ts';
import type { ModelStore } from './store.ts';

export interface ActivateOptions {
  /** Whose signature the model must have. */
  trust: Trust | null;
  /** Loads the model in an engine of its own and asks it; rejects where that fails. */
  tryModel(dir: string, prompts: readonly SmokePrompt[]): Promise<void>;
  disk?: Disk;
}

/**
 * Makes a model of the store the active one, after it has loaded, computed finite logits and answered its
 * smoke prompts. Until the last step, and whatever fails, the active model is the one before.
 *
 * @throws {SlmdError} `model_unknown`, `model_not_runnable`, `model_untrusted`, `model_invalid`, `model_refused`
 */
export async function activate(
  store: ModelStore,
  name: string,
  { trust, tryModel, disk = realDisk }: ActivateOptions,
): Promise<void> {
  const dir = store.modelOf(name);
  const layout = layoutOf(await readdir(dir));
  if (layout !== 'slmd')
    throw new SupplyError(
      'model_not_runnable',
      `${name} has no ${manifestFile}: slmd model inspect ${name} says what to do with it`,
    );
  await readManifest(dir, trust);
  const prompts = await readSmokePrompts(dir);
  try {
    await tryModel(dir, prompts);
  } catch (error) {
    if (!(error instanceof SlmdError)) throw error;
    throw new SupplyError('model_refused', `${name} was tried, and is not used: ${messageOf(error)}`, {
      cause: error,
    });
  }
  // Whoever copied it here may not have waited for the disk; what is active must be there after a power cut.
  for (const file of await readdir(dir)) disk.sync(join(dir, file));
  disk.sync(dir);
  store.activate(name);
}
