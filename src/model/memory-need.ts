import { megabytes } from '../lib/megabytes.ts';
import type { Manifest } from './manifest.ts';

/** What a model's manifest says, as far as memory goes. */
export interface ModelSize {
  parameters: number;
  /** Of the layers' weights: 4, 8 or 32. */
  bits: number;
  /** Weights that share a scale; null for float32. */
  block_size: number | null;
  layers: number;
  kv_heads: number;
  head_size: number;
  /** What the KV cache is kept in; absent for float32. */
  kv_cache?: 'int8' | undefined;
}

export function sizeOf({
  parameters,
  quantization,
  geometry,
}: Pick<Manifest, 'parameters' | 'quantization' | 'geometry'>): ModelSize {
  const { bits, block_size, kv_cache } = quantization;
  const { layers, kv_heads, head_size } = geometry;
  return { parameters, bits, block_size, layers, kv_heads, head_size, kv_cache };
}

/** A process with Node, ONNX Runtime and a tokenizer, before any weight. */
const engineBaseBytes = 90e6;
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

/** What the engine will take, in bytes. */
export function engineBytes(model: ModelSize, contextTokens: number): number {
  return engineBaseBytes + weightBytes(model) + kvBytes(model, contextTokens);
}
