import { type GraphBuilder, microsoft } from '../onnx/graph.ts';
import type { Activation, GatedMlp } from './architecture.ts';
import { type Blocks, linear } from './linear.ts';
import type { MatrixPart } from './weights.ts';

/** down(activation(gate(x)) × up(x)): [B, S, hidden] → [B, S, hidden]. */
export async function gatedMlp(
  blocks: Blocks,
  { size, activation, bias, joined }: GatedMlp,
  layer: number,
  input: string,
): Promise<string> {
  const { graph, architecture } = blocks;
  const { hiddenSize, factors } = architecture;
  const source = `model.layers.${layer}.mlp`;
  const name = `layer.${layer}.mlp`;
  const widen = (part: 'gate' | 'up') => {
    const own: MatrixPart = { tensor: `${source}.${part}_proj`, rows: size };
    const shared: MatrixPart = {
      tensor: `${source}.gate_up_proj`,
      rows: size,
      shape: [2 * size, hiddenSize],
      from: part === 'gate' ? 0 : size,
    };
    return linear(blocks, layer, `${name}.${part}`, [joined ? shared : own], hiddenSize, input, bias);
  };
  const gate = await widen('gate');
  const up = await widen('up');
  const activated = activate(graph, activation, gate, name);
  const gated = graph.node('Mul', [activated, up], `${name}.gated`);
  const parts = [{ tensor: `${source}.down_proj`, rows: hiddenSize, times: factors.residual }];
  return linear(blocks, layer, `${name}.down`, parts, size, gated, bias);
}

export function activate(graph: GraphBuilder, activation: Activation, input: string, name: string): string {
  if (activation === 'gelu_tanh') {
    return graph.node('FastGelu', [input], `${name}.gelu`, { domain: microsoft });
  }
  const sigmoid = graph.node('Sigmoid', [input], `${name}.sigmoid`);
  return graph.node('Mul', [input, sigmoid], `${name}.silu`);
}
