import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Trust } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { megabytes } from '../lib/megabytes.ts';
import type { Manifest } from '../model/manifest.ts';
import { engineBytes, kvBytes, sizeOf, weightBytes } from '../model/memory-need.ts';
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
  /** What the board has; undefined to try whatever it is. */
  memory?: { bytes: number; contextTokens: number } | undefined;
  disk?: Disk;
}

/**
 * Makes a model of the store the active one, after it has loaded, computed finite logits and answered its
 * smoke prompts. Until the last step, and whatever fails, the active model is the one before.
 *
 * @throws {SlmdError} `model_unknown`, `model_not_runnable`, `model_unsupported`, `model_untrusted`, `model_invalid`,
 *   `hash_mismatch`, `model_too_large`, `model_refused`
 */
export async function activate(
  store: ModelStore,
  name: string,
  { trust, tryModel, variant, memory, disk = realDisk }: ActivateOptions,
): Promise<void> {
  const dir = store.modelOf(name);
  if (!(await takeOver(dir, variant)))
    throw new SupplyError(
      'model_not_runnable',
      `${name} is nothing that runs: slmd model inspect ${name} says what to do with it`,
    );
  const { manifest } = await readManifest(dir, trust);
  if (memory !== undefined) requireRoom(name, manifest, memory);
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

/**
 * Refuses what cannot fit: a trial of it would push everything else out of the memory first. What may fit or not
 * is tried; the cache takes memory only as it is written.
 */
function requireRoom(
  name: string,
  manifest: Manifest,
  { bytes, contextTokens }: { bytes: number; contextTokens: number },
): void {
  const size = sizeOf(manifest);
  if (engineBytes(size, 0) <= bytes) return;
  const tokens = Math.min(manifest.context_length, contextTokens);
  throw new SupplyError(
    'model_too_large',
    `${name} needs about ${megabytes(engineBytes(size, 0))} (${megabytes(weightBytes(size))} of them weights), and up to ${megabytes(kvBytes(size, tokens))} more for ${tokens} tokens; this board has ${megabytes(bytes)}. --force tries it all the same`,
  );
}
