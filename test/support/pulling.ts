import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Pulled, type PullOptions, pull } from '../../src/supply/pull.ts';
import { parseRepo } from '../../src/supply/repo.ts';
import { ModelStore } from '../../src/supply/store.ts';
import { transferLimits } from '../../src/supply/transfer-error.ts';
import { cutAfter as cut, FakeHub, type Mischief } from './fake-hub.ts';
import { temporaryDir } from './temporary.ts';

export const weights = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 251));
export const files = {
  'config.json': '{"model_type":"llama"}',
  'tokenizer.json': '{}',
  'model.safetensors': weights,
};
export const large = 'model.safetensors';
export const small = 'config.json';

/** Quick to try again, slow to give up: a busy machine is no failure. */
export const limits = {
  ...transferLimits,
  headers_ms: 20_000,
  stall_ms: 20_000,
  attempts_max: 3,
  retry: { min_ms: 1, max_ms: 2 },
  retry_after_max_ms: 2000,
};

/** A hub with a small checkpoint, and a store to pull it to. */
export interface Pulling {
  hub: FakeHub;
  store: ModelStore;
  /** What was reported of the progress, as bytes done. */
  progress: number[];
  pull(options?: Partial<PullOptions>, text?: string): Promise<Pulled>;
  /** Breaks the connection after so many bytes of a file have arrived. */
  cutAfter(bytes: number, path?: string): Mischief;
}

export async function pulling(
  t: TestContext,
  content: Record<string, Buffer | string> = files,
): Promise<Pulling> {
  const hub = await FakeHub.start(t, content);
  const store = new ModelStore(join(temporaryDir(t), 'store'));
  const progress: number[] = [];
  const base = { token: null, user_agent: 'slmd/test', signal: new AbortController().signal, limits };
  const onProgress = (done: number) => progress.push(done);
  return {
    hub,
    store,
    progress,
    pull: (options = {}, text = hub.repo) =>
      pull(parseRepo(text, hub.url), store, { ...base, onProgress, ...options }),
    cutAfter: (bytes, path = large) => cut(bytes, join(store.partialOf('model-1m'), `${path}.part`)),
  };
}

/** What is there is the model as the hub has it, and nothing else. */
export function assertComplete({ store, hub }: Pulling, name = 'model-1m'): void {
  for (const [path, content] of hub.files)
    assert.ok(readFileSync(join(store.pathOf(name), path)).equals(content), path);
  assert.ok(!existsSync(store.partialOf(name)));
}

/** There is no model, whatever there is of one. */
export async function assertNoModel({ store }: Pulling): Promise<void> {
  assert.deepEqual(
    (await store.list()).filter(({ state }) => state !== 'partial'),
    [],
  );
}

export async function assertFails(
  all: Pulling,
  code: string,
  options: Partial<PullOptions> = {},
): Promise<void> {
  await assert.rejects(all.pull(options), { code });
  await assertNoModel(all);
}
