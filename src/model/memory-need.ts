import { megabytes } from '../lib/megabytes.ts';
import { scoresBytes } from '../onnx/attention-path.ts';
import { eachMax } from '../onnx/decoder.ts';
import type { Manifest } from './manifest.ts';

/** What a model's manifest says, as far as memory goes. */
export interface ModelSize {
  parameters: number;
  /** Of the layers' weights: 4, 8 or 32. */
  bits: number;
  /** Weights that share a scale; null for float32. */
  block_size: number | null;
  layers: number;
  heads: number;
  kv_heads: number;
  head_size: number;
  hidden_size: number;
  vocabulary_size: number;
  /** What the KV cache is kept in; absent for float32. */
  kv_cache?: 'int8' | undefined;
}

export function sizeOf({
  parameters,
  quantization,
  geometry,
}: Pick<Manifest, 'parameters' | 'quantization' | 'geometry'>): ModelSize {
  const { bits, block_size, kv_cache } = quantization;
  return { parameters, bits, block_size, ...geometry, kv_cache };
}

/** A process with Node, ONNX Runtime, the engine's program and a small vocabulary, before any weight: its own memory. */
const engineBaseBytes = 30e6;
/** Pages of Node's and ONNX Runtime's code that answers need. They are a file's, but without them nothing gets on. */
const codeBytes = 38e6;
/** Of a chunk, as wide as an MLP: what is there at the same time, and what is free between them. */
const wideActivations = 4;
/** Scores become more with each chunk of a prompt, and ONNX Runtime's memory keeps the places of smaller ones meanwhile. */
const scoresKept = 2.25;
const float32Bytes = 4;

/**
 * Bytes that one weight takes in memory once ONNX Runtime has packed it: its bits, and for each block a
 * float32 scale and a float32 sum. It is also what decoding one token reads of it.
 */
export function packedBytesPerWeight({ bits, block_size }: Pick<ModelSize, 'bits' | 'block_size'>): number {
  return bits / 8 + (block_size === null ? 0 : (2 * float32Bytes) / block_size);
}

/** Bytes of weights that decoding a token reads. */
export function weightBytes(model: ModelSize): number {
  return model.parameters * packedBytesPerWeight(model);
}

/** What is wrong with weights of this size on this board, and what to do; null where nothing is, or nobody knows. */
export function overweight(
  weight_bytes: number,
  bytes_max: number | null,
): { message: string; fix: string } | null {
  if (bytes_max === null || weight_bytes <= bytes_max) return null;
  return {
    message: `its weights take ${megabytes(weight_bytes)}, and this board answers in good time with up to ${megabytes(bytes_max)} (model.bytes_max)`,
    fix: 'it runs, slowly; a smaller model, or one of fewer bits (slmd model build --quantization int4), is faster',
  };
}

/** Bytes of a KV cache for so many tokens. */
export function kvBytes({ layers, kv_heads, head_size, kv_cache }: ModelSize, tokens: number): number {
  return 2 * layers * kv_heads * head_size * (kv_cache === 'int8' ? 1 : float32Bytes) * tokens;
}

/** Bytes of that which the same model would not need, were its KV cache int8. */
export function sparedByInt8(model: ModelSize, tokens: number): number {
  return kvBytes(model, tokens) - kvBytes({ ...model, kv_cache: 'int8' }, tokens);
}

/** How an engine is used. */
export interface EngineUse {
  /** Tokens of each row, at most. */
  contextTokens: number;
  /** Tokens of a prompt that are run at a time. */
  chunkTokens: number;
  rows?: number;
  /** See `scoresBytes`. */
  cpuRoot?: string;
}

/**
 * What the engine will take at most, in bytes: when a prompt has filled its context. Fitted to engines at rest
 * on x86-64. `npm run bench -- --memory` prints it beside an engine that has had no rest, which has the pages of its start
 * as well: clean ones, which the kernel can take back.
 */
export function engineBytes(
  model: ModelSize,
  { contextTokens, chunkTokens, rows = 1, cpuRoot }: EngineUse,
): number {
  const { heads, vocabulary_size } = model;
  const run = { contextLength: contextTokens, runTokens: chunkTokens };
  const logits = (rows + 1 + eachMax) * vocabulary_size * float32Bytes;
  const activations = wideActivations * chunkTokens * mlpSize(model) * float32Bytes;
  const scores = scoresKept * scoresBytes(heads, run, cpuRoot);
  const own = engineBaseBytes + logits + activations + scores;
  return Math.round(codeBytes + own + weightBytes(model) + rows * kvBytes(model, contextTokens));
}

/** How wide an MLP is, of its three matrices: what is left of a layer's weights without attention. */
function mlpSize({
  parameters,
  layers,
  heads,
  kv_heads,
  head_size,
  hidden_size,
  vocabulary_size,
}: ModelSize) {
  const attention = 2 * (heads + kv_heads) * head_size * hidden_size;
  const inLayers = parameters - vocabulary_size * hidden_size;
  return Math.max(hidden_size, (inLayers / layers - attention) / (3 * hidden_size));
}
