import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelSource, Trust, VariantKind } from '../ipc/messages.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { megabytes } from '../lib/megabytes.ts';
import { shippedModel } from '../lib/package-root.ts';
import type { Manifest } from '../model/manifest.ts';
import { type EngineUse, engineBytes, sizeOf, weightBytes } from '../model/memory-need.ts';
import { readManifest } from '../model/verified-manifest.ts';
import { SupplyError } from './errors.ts';
import { type Disk, realDisk } from './pointer.ts';
import { readSmokePrompts, type SmokePrompt } from './smoke.ts';
import { type ModelStore, shippedName } from './store.ts';
import { takeOver } from './take-over.ts';

export interface ActivateOptions {
  /** Whose signature a model of the store must have. */
  trust: Trust | null;
  /** Loads the model in an engine of its own and asks it; rejects where that fails. */
  tryModel(source: ModelSource, prompts: readonly SmokePrompt[]): Promise<void>;
  /** Of several graphs of one model; without it the one that is already chosen, or the best for this board. */
  variant?: string | undefined;
  /** How the weights of the best are kept. */
  kind?: VariantKind | undefined;
  /** The model that came with the program, and is trusted as the program is. */
  shipped?: string;
  /** Told what the model is, before it is tried. */
  onRead?(manifest: Manifest): void;
  /** What the board has; undefined to try whatever it is. */
  memory?: ({ bytes: number } & EngineUse) | undefined;
  disk?: Disk;
}

/**
 * Makes a model of the store the active one, or with null the one that ships, after it has loaded, computed finite
 * logits and answered its smoke prompts. Until the last step, and whatever fails, the active model is the one before.
 *
 * @throws {SlmdError} `model_unknown`, `model_not_runnable`, `model_unsupported`, `model_untrusted`, `model_invalid`,
 *   `hash_mismatch`, `model_too_large`, `model_refused`
 */
export async function activate(
  store: ModelStore,
  name: string | null,
  { tryModel, memory, onRead, disk = realDisk, ...wanted }: ActivateOptions,
): Promise<void> {
  const source = name === null ? shippedSource(wanted) : await storedSource(store, name, wanted);
  const { manifest } = await readManifest(source.dir, source.trust);
  onRead?.(manifest);
  if (memory !== undefined) requireRoom(name ?? shippedName, manifest, memory);
  const prompts = await readSmokePrompts(source.dir);
  try {
    await tryModel(source, prompts);
  } catch (error) {
    if (!(error instanceof SlmdError)) throw error;
    const line = `${name ?? shippedName} was tried, and is not used: ${messageOf(error)}`;
    throw new SupplyError('model_refused', line, { cause: error });
  }
  if (name === null) await store.prepare();
  else await settle(source.dir, disk);
  store.activate(name);
}

type Wanted = Pick<ActivateOptions, 'trust' | 'variant' | 'kind' | 'shipped'>;

function shippedSource({ shipped = shippedModel() }: Wanted): ModelSource {
  return { dir: shipped, trust: null };
}

async function storedSource(
  store: ModelStore,
  name: string,
  { trust, variant, kind }: Wanted,
): Promise<ModelSource> {
  const dir = store.modelOf(name);
  if (await takeOver(dir, { variant, kind })) return { dir, trust };
  throw new SupplyError(
    'model_not_runnable',
    `${name} is nothing that runs: slmd model inspect ${name} says what to do with it`,
  );
}

/** Whoever copied it here may not have waited for the disk; what is active must be there after a power cut. */
async function settle(dir: string, disk: Disk): Promise<void> {
  for (const { parentPath, name } of await readdir(dir, { recursive: true, withFileTypes: true }))
    disk.sync(join(parentPath, name));
  disk.sync(dir);
}

/**
 * Refuses what cannot fit: a trial of it would push everything else out of the memory first. What may fit or not
 * is tried; the cache takes memory only as it is written.
 */
function requireRoom(
  name: string,
  manifest: Manifest,
  { bytes, ...use }: { bytes: number } & EngineUse,
): void {
  const size = sizeOf(manifest);
  const least = engineBytes(size, { ...use, contextTokens: 0 });
  if (least <= bytes) return;
  const contextTokens = Math.min(manifest.context_length, use.contextTokens);
  const more = engineBytes(size, { ...use, contextTokens }) - least;
  throw new SupplyError(
    'model_too_large',
    `${name} needs about ${megabytes(least)} (${megabytes(weightBytes(size))} of them weights), and up to ${megabytes(more)} more for ${contextTokens} tokens; this board has ${megabytes(bytes)}. --force tries it all the same`,
  );
}
