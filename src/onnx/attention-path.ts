import { memoryBytes } from '../lib/memory.ts';
import { hasWideVectors } from './cpu.ts';
import type { GraphFile } from './graph-file.ts';

/**
 * Which of its two ways ONNX Runtime (1.30) takes through GroupQueryAttention on a CPU.
 *
 * Left alone it goes through `tiles`, which need no memory; a single token goes through loops there that are
 * compiled for any processor. With `scores`, all scores of a run are made at once, by its matrix kernels.
 */
export type AttentionPath = 'scores' | 'tiles';

/** Of a head in one run, each a float32: 4 MB for a head, and a small model has about a dozen. */
const scoresMax = 2 ** 20;
/** Of all memory, for the scores of all heads: on a small board the model and its cache need it more. */
const memoryShare = 1 / 16;
const scoreBytes = 4;
/** A chunk of prefill, as the configuration has it. */
const runTokensDefault = 128;

export interface AttentionOptions {
  contextLength: number;
  /** The most that one run is given: each of them has a score with all of the context. */
  runTokens?: number;
  /** Of the board, in bytes: what is free would be another with each start, and its rounding with it. */
  memory?: number;
}

/**
 * Scores at once are faster where the kernels' vectors are wider than those of the loops, and where a query meets
 * the keys as they lie: of float32, with a scale of its own the operator copies all keys for each head.
 *
 * @param cpuRoot see `hasWideVectors`
 */
export function attentionPath(graph: GraphFile, options: AttentionOptions, cpuRoot?: string): AttentionPath {
  const attention = graph.nodes.filter(({ operator }) => operator === 'GroupQueryAttention');
  const types = new Map(graph.inputs.map(({ name, type }) => [name, type]));
  const asTheyLie = attention.every(({ inputs: [, , , past = ''], attributes }) => {
    const type = types.get(past);
    return type === 'int8' || (type === 'float32' && attributes.get('scale') === 1);
  });
  if (attention.length === 0 || !asTheyLie) return 'tiles';
  const heads = Math.max(...attention.map(({ attributes }) => attributes.get('num_heads') ?? 1));
  return scoresBytes(heads, options, cpuRoot) > 0 ? 'scores' : 'tiles';
}

/** What the scores of a run take where they are made at once; 0 where there is no room for that, or nothing to win. */
export function scoresBytes(
  heads: number,
  { contextLength, runTokens = runTokensDefault, memory = memoryBytes() }: AttentionOptions,
  cpuRoot?: string,
): number {
  const scores = contextLength * runTokens;
  const bytes = heads * scores * scoreBytes;
  return scores <= scoresMax && bytes <= memoryShare * memory && hasWideVectors(cpuRoot) ? bytes : 0;
}

/** For the graph that is opened next: ONNX Runtime looks when it makes its kernels. */
export function takeAttentionPath(graph: GraphFile, options: AttentionOptions): AttentionPath {
  const path = attentionPath(graph, options);
  process.env.ORT_GQA_DISABLE_FLASH_ATTENTION = path === 'scores' ? '1' : '0';
  return path;
}
