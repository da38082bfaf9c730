import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { readManifest } from '../model/verified-manifest.ts';
import { SupplyError } from './errors.ts';
import { type Disk, realDisk } from './pointer.ts';
import { readSmokePrompts, type SmokePrompt } from './smoke.ts';
import type { ModelStore } from './store.ts';
import { takeOver } from './take-over.ts';

export interface ActivateOptions {
  /** Whose signature the model must have. */
  trust: Trust | null;
  /** Loads the model in an engine of its own and asks it; rejects where that fails. */
  tryModel(dir: string, prompts: readonly SmokePrompt[]): Promise<void>;
  /** Of several graphs of one model; without it the one that is already chosen, or the best for this board. */
  variant?: string | undefined;
  disk?: Disk;
}

/**
 * Makes a model of the store the active one, after it has loaded, computed finite logits and answered its
 * smoke prompts. Until the last step, and whatever fails, the active model is the one before.
 *
 * @throws {SlmdError} `model_unknown`, `model_not_runnable`, `model_unsupported`, `model_untrusted`, `model_invalid`,
 *   `hash_mismatch`, `model_refused`
 */
export async function activate(
  store: ModelStore,
  name: string,
  { trust, tryModel, variant, disk = realDisk }: ActivateOptions,
): Promise<void> {
  const dir = store.modelOf(name);
  if (!(await takeOver(dir, variant)))
    throw new SupplyError(
      'model_not_runnable',
      `${name} is nothing that runs: slmd model inspect ${name} says what to do with it`,
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
  for (const { parentPath, name: file } of await readdir(dir, { recursive: true, withFileTypes: true }))
    disk.sync(join(parentPath, file));
  disk.sync(dir);
  store.activate(name);
}
