import { type Blocks, linear } from './linear.ts';

/** down(SiLU(gate(x)) × up(x)): [B, S, hidden] → [B, S, hidden]. */
export async function mlp(blocks: Blocks, layer: number, input: string): Promise<string> {
  const { graph, architecture } = blocks;
  const { hiddenSize, intermediateSize, bias } = architecture;
  const source = `model.layers.${layer}.mlp`;
  const name = `layer.${layer}.mlp`;
  const widen = (part: 'gate' | 'up') => {
    const parts = [{ tensor: `${source}.${part}_proj`, rows: intermediateSize }];
    return linear(blocks, `${name}.${part}`, parts, hiddenSize, input, bias.mlp);
  };
  const gate = await widen('gate');
  const up = await widen('up');
  const sigmoid = graph.node('Sigmoid', [gate], `${name}.sigmoid`);
  const silu = graph.node('Mul', [gate, sigmoid], `${name}.silu`);
  const gated = graph.node('Mul', [silu, up], `${name}.gated`);
  const parts = [{ tensor: `${source}.down_proj`, rows: hiddenSize }];
  return linear(blocks, `${name}.down`, parts, intermediateSize, gated, bias.mlp);
}
