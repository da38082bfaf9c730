import type { GraphBuilder } from '../onnx/graph.ts';
import type { Architecture } from './architecture.ts';
import type { DecoderOptions } from './decoder.ts';
import { project } from './matrix-nodes.ts';
import type { MatrixPart, WeightStore } from './weights.ts';

/** What every block of a decoder works with. */
export interface Blocks {
  graph: GraphBuilder;
  weights: WeightStore;
  architecture: Architecture;
  options: DecoderOptions;
  /** Told of each matrix that is multiplied, and by which value of how many columns. */
  onLinear?(matrix: string, input: string, columns: number): void;
  /** Told of what each layer leaves in the KV cache: the names of its keys and its values. */
  onCached?(layer: number, present: readonly string[]): void;
}

/**
 * Linear maps of a layer that share an input, as one matrix: input [B, S, columns] → [B, S, sum of rows].
 *
 * @param parts the maps' modules, each with a `weight` and, if `hasBias`, a `bias`
 */
export async function linear(
  { graph, weights, options, onLinear }: Blocks,
  layer: number,
  name: string,
  parts: readonly MatrixPart[],
  columns: number,
  input: string,
  hasBias: boolean,
): Promise<string> {
  const matrixParts = parts.map((part) => ({ ...part, tensor: `${part.tensor}.weight` }));
  const matrix = await weights.matrix(name, matrixParts, columns, options.layerFormats[layer]!);
  onLinear?.(name, input, columns);
  const bias = hasBias ? await joinedBias(weights, parts, matrix.rows) : undefined;
  return project(graph, input, matrix, `${name}.output`, options.accuracyLevel, bias);
}

async function joinedBias(
  weights: WeightStore,
  parts: readonly MatrixPart[],
  length: number,
): Promise<Float32Array> {
  const bias = new Float32Array(length);
  let at = 0;
  for (const { tensor, rows, times = 1 } of parts) {
    const own = await weights.vector(`${tensor}.bias`, rows);
    bias.set(times === 1 ? own : own.map((value) => value * times), at);
    at += rows;
  }
  return bias;
}
