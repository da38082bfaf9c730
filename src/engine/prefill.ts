/**
 * How a prompt is cut into runs of the model.
 *
 * INVARIANT: a prompt's logits are the same, bit for bit, whatever part of it was in the KV cache before
 * (proved for each length by `test/engine/prefix-cache.test.ts`). ONNX Runtime computes rows of a matrix
 * in tiles, and a row that is left over alone by another kernel, with other rounding; a run of one token
 * takes another path through attention as well. So runs begin at multiples of the grain, and none has a
 * single row left over.
 */

/** Tokens; a multiple of the rows that any kernel takes at once. */
export const prefillGrain = 32;

/** A run of the model over the prompt's tokens from `start` up to `end`. */
export interface PrefillRun {
  start: number;
  end: number;
}

/**
 * The runs that bring a prompt from `cached` tokens in the KV cache to all of them.
 *
 * @param cached as `reusableTokens` gives it
 * @param chunkTokens most tokens of a run, give or take the grain: the more, the faster and the later a cancel
 */
export function prefillRuns(cached: number, promptTokens: number, chunkTokens: number): PrefillRun[] {
  const chunk = Math.max(prefillGrain, chunkTokens - (chunkTokens % prefillGrain));
  const runs: PrefillRun[] = [];
  for (let start = cached; start < promptTokens; start = runs.at(-1)!.end) {
    const left = promptTokens - start;
    const single = left > 2 && left <= chunk + 1 && left % prefillGrain === 1;
    runs.push({ start, end: single ? promptTokens - 2 : Math.min(start + chunk, promptTokens) });
  }
  return runs;
}

/** How many of the cached tokens a prompt may go on from: whole grains, and two tokens at least are left to run. */
export function reusableTokens(cached: readonly number[], prompt: readonly number[]): number {
  return wholeGrains(Math.min(sharedTokens(cached, prompt), prompt.length - 2));
}

/** How many tokens both begin with. */
export function sharedTokens(one: readonly number[], other: readonly number[]): number {
  const most = Math.min(one.length, other.length);
  let shared = 0;
  while (shared < most && one[shared] === other[shared]) shared++;
  return shared;
}

export function wholeGrains(tokens: number): number {
  return tokens <= 0 ? 0 : tokens - (tokens % prefillGrain);
}
