/**
 * Which of its two ways ONNX Runtime takes through GroupQueryAttention on a CPU.
 *
 * Left alone it goes through `tiles`, which need no memory; the loops for a single token have no vector
 * instructions there. With `scores`, all scores of a run are made at once, by its matrix kernels.
 */
export type AttentionPath = 'scores' | 'tiles';

/** Of a head in one run, each a float32: 4 MB for a head, and a small model has about a dozen. */
const scoresMax = 2 ** 20;
/** A chunk of prefill, as the configuration has it. */
const runTokensDefault = 128;

/** @param runTokens the most that one run is given: each of them has a score with all of the context */
export function attentionPath(contextLength: number, runTokens: number = runTokensDefault): AttentionPath {
  return contextLength * runTokens <= scoresMax ? 'scores' : 'tiles';
}

/** For the graphs that this process opens from now on: ONNX Runtime looks when it makes a kernel. */
export function takeAttentionPath(path: AttentionPath): void {
  process.env.ORT_GQA_DISABLE_FLASH_ATTENTION = path === 'scores' ? '1' : '0';
}
