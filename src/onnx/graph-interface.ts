import type { InferenceSession } from 'onnxruntime-common';

/** One cached tensor, [batch, heads, tokens, headSize], as it goes in and as it comes out. */
export interface CacheEntry {
  input: string;
  output: string;
  type: CacheType;
  heads: number;
  headSize: number;
}

/** int8 is rounded by scales that are in the graph. */
export type CacheType = 'float32' | 'int8';

/** What `src/model/README.md` describes, found in a graph. */
export interface GraphInterface {
  cache: readonly CacheEntry[];
  vocabularySize: number;
  /** Whether `logits` has every position of a run; else the last alone, or as many as are asked for. */
  allLogits: boolean;
  /** Whether the graph is told how many of the last positions `logits` has: by `num_logits_to_keep`. */
  keepsLogits: boolean;
}

const tokenInputs = ['input_ids', 'seqlens_k', 'total_sequence_length'];
/** Graphs of older builds do without. */
const keptInput = 'num_logits_to_keep';

type ValueMetadata = InferenceSession.ValueMetadata;

/** @throws naming what the graph has that the engine does not know, or has not and should */
export function readInterface(
  inputs: readonly ValueMetadata[],
  outputs: readonly ValueMetadata[],
): GraphInterface {
  const cache = inputs
    .filter(({ name }) => name !== keptInput && !tokenInputs.includes(name))
    .map((input) => cacheEntry(input, outputs));
  const missing = tokenInputs.find((name) => !inputs.some((input) => input.name === name));
  if (missing !== undefined) throw new Error(`the graph has no input ${missing}`);
  const logits = outputs.find(({ name }) => name === 'logits');
  const [, positions, vocabularySize] = logits?.isTensor ? logits.shape : [];
  if (typeof vocabularySize !== 'number')
    throw new Error('the graph has no output logits of a fixed vocabulary');
  const keepsLogits = inputs.some(({ name }) => name === keptInput);
  return { cache, vocabularySize, allLogits: positions !== 1 && !keepsLogits, keepsLogits };
}

/** A `past_key_values.*` input with its `present.*` output. */
function cacheEntry(input: ValueMetadata, outputs: readonly ValueMetadata[]): CacheEntry {
  const [, layer] = /^past_key_values\.(.+)$/.exec(input.name) ?? [];
  const output = `present.${layer}`;
  if (layer === undefined || !outputs.some(({ name }) => name === output))
    throw new Error(`the graph has an input that the engine does not know: ${input.name}`);
  const [, heads, , headSize] = input.isTensor ? input.shape : [];
  if (
    !input.isTensor ||
    (input.type !== 'float32' && input.type !== 'int8') ||
    typeof heads !== 'number' ||
    typeof headSize !== 'number'
  )
    throw new Error(`the graph's ${input.name} is not float32 or int8 [batch, heads, tokens, head size]`);
  return { input: input.name, output, type: input.type, heads, headSize };
}
