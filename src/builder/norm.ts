import { microsoft } from '../onnx/graph.ts';
import type { Blocks } from './linear.ts';

/** The stream between blocks: the sum so far, and what the block before adds to it. */
export interface Residual {
  sum: string;
  added: string | null;
}

/** Completes the sum, and divides it by its root mean square: both [B, S, hidden]. */
export async function norm(
  { graph, weights, architecture }: Blocks,
  name: string,
  tensor: string,
  { sum, added }: Residual,
): Promise<{ sum: string; normed: string }> {
  const { hiddenSize, normEpsilon } = architecture;
  const weight = await weights.vector(tensor, hiddenSize);
  const scale = graph.constant(`${name}.norm.weight`, 'float32', [hiddenSize], weight);
  const epsilon = { float: normEpsilon };
  const normed = `${name}.normed`;
  if (added === null) {
    graph.node('SimplifiedLayerNormalization', [sum, scale], normed, { attributes: { axis: -1, epsilon } });
    return { sum, normed };
  }
  const total = `${name}.sum`;
  graph.nodeWithOutputs('SkipSimplifiedLayerNormalization', [sum, added, scale], [normed, '', '', total], {
    domain: microsoft,
    attributes: { epsilon },
  });
  return { sum: total, normed };
}
