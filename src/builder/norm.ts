import { microsoft } from '../onnx/graph.ts';
import type { Blocks } from './linear.ts';

/** The stream between blocks: the sum so far, and what the block before adds to it. */
export interface Residual {
  sum: string;
  added: string | null;
}

/** Completes the sum, and divides it by its root mean square: both [B, S, hidden]. */
export async function norm(
  blocks: Blocks,
  name: string,
  tensor: string,
  { sum, added }: Residual,
  times = 1,
): Promise<{ sum: string; normed: string }> {
  const { hiddenSize, norms } = blocks.architecture;
  const normed = `${name}.normed`;
  if (added === null) {
    await normAlone(blocks, { name, tensor, size: hiddenSize, times }, sum, normed);
    return { sum, normed };
  }
  const scale = await weightOf(blocks, { name, tensor, size: hiddenSize, times });
  const total = `${name}.sum`;
  blocks.graph.nodeWithOutputs(
    'SkipSimplifiedLayerNormalization',
    [sum, added, scale],
    [normed, '', '', total],
    { domain: microsoft, attributes: { epsilon: { float: norms.epsilon } } },
  );
  return { sum: total, normed };
}

/** A norm's weight: where it comes from, and what it is multiplied by. */
export interface NormWeight {
  name: string;
  tensor: string;
  size: number;
  times?: number;
}

/** Divides the last axis by its root mean square: [..., size] → [..., size]. */
export async function normAlone(
  blocks: Blocks,
  weight: NormWeight,
  input: string,
  output: string,
): Promise<string> {
  const scale = await weightOf(blocks, weight);
  return blocks.graph.node('SimplifiedLayerNormalization', [input, scale], output, {
    attributes: { axis: -1, epsilon: { float: blocks.architecture.norms.epsilon } },
  });
}

async function weightOf(
  { graph, weights, architecture }: Blocks,
  { name, tensor, size, times = 1 }: NormWeight,
): Promise<string> {
  const stored = await weights.vector(tensor, size);
  const offset = architecture.norms.plusOne ? 1 : 0;
  const weight = stored.map((value) => Math.fround(value + offset) * times);
  return graph.constant(`${name}.norm.weight`, 'float32', [size], weight);
}
