import { type Attribute, microsoft } from '../onnx/graph.ts';
import type { Attention } from './architecture.ts';
import { type Blocks, linear } from './linear.ts';
import { normAlone } from './norm.ts';
import type { Rotation } from './rotation.ts';
import type { MatrixPart } from './weights.ts';

/**
 * Rotary, grouped-query attention over the KV cache: [B, S, hidden] → [B, S, heads × head size].
 *
 * Queries, keys and values are one matrix; the layer's past and present become inputs and outputs.
 */
export async function attend(
  blocks: Blocks,
  layer: number,
  input: string,
  rotation: Rotation,
): Promise<string> {
  const { graph, architecture } = blocks;
  const { attention, hiddenSize } = architecture;
  const name = `layer.${layer}.attention`;
  const parts = qkvParts(layer, attention, hiddenSize);
  const packed = await linear(blocks, layer, `${name}.qkv`, parts, hiddenSize, input, attention.bias.qkv);
  const { past, present } = cache(blocks, layer);
  const inside = rotation.positions === null;
  const whole = inside && !attention.headNorms;
  const qkv = whole ? [packed, '', ''] : await separate(blocks, layer, packed, rotation);
  const inputs = [...qkv, ...past, 'seqlens_k', 'total_sequence_length'];
  if (inside) inputs.push(rotation.cos, rotation.sin);
  const rounding = roundCache(blocks, layer);
  if (rounding !== null) inputs.push(...Array(scaleInput - inputs.length).fill(''), ...rounding.scales);
  const attended = `${name}.heads`;
  graph.nodeWithOutputs('GroupQueryAttention', inputs, [attended, ...present], {
    domain: microsoft,
    attributes: {
      num_heads: attention.heads,
      kv_num_heads: attention.kvHeads,
      do_rotary: inside ? 1 : 0,
      scale: { float: 1 },
      ...(attention.softcap === null ? {} : { softcap: { float: attention.softcap } }),
      ...windowOf(blocks, layer),
      ...rounding?.attributes,
    },
  });
  blocks.onCached?.(layer, present);
  return attended;
}

/**
 * Scores are not scaled, but queries, in their weights or those of their norm: ONNX Runtime multiplies one query
 * by keys as they lie only where nothing is left to be multiplied, and else by a copy of the keys.
 */
function qkvParts(layer: number, attention: Attention, hiddenSize: number): MatrixPart[] {
  const { heads, kvHeads, headSize, headNorms, joined, scale } = attention;
  const source = `model.layers.${layer}.self_attn`;
  const times = headNorms ? 1 : scale;
  const [rows, kvRows] = [heads * headSize, kvHeads * headSize];
  if (joined) {
    const shared = { tensor: `${source}.qkv_proj`, shape: [rows + 2 * kvRows, hiddenSize] };
    return [
      { ...shared, rows, times },
      { ...shared, rows: 2 * kvRows, from: rows },
    ];
  }
  return [
    { tensor: `${source}.q_proj`, rows, times },
    { tensor: `${source}.k_proj`, rows: kvRows },
    { tensor: `${source}.v_proj`, rows: kvRows },
  ];
}

/** A window that is no shorter than the context is none. */
function windowOf({ architecture, options }: Blocks, layer: number): Record<string, number> {
  const { window } = architecture.layers[layer]!;
  return window === null || window >= options.contextLength ? {} : { local_window_size: window };
}

const kinds = ['key', 'value'] as const;

function cache(
  { graph, architecture, options }: Blocks,
  layer: number,
): { past: string[]; present: string[] } {
  const { kvHeads, headSize } = architecture.attention;
  const type = options.cacheScales === null ? 'float32' : 'int8';
  const shape = (capacity: string) => ['batch', kvHeads, capacity, headSize];
  return {
    past: kinds.map((kind) => graph.input(`past_key_values.${layer}.${kind}`, type, shape('past_capacity'))),
    present: kinds.map((kind) => graph.output(`present.${layer}.${kind}`, type, shape('capacity'))),
  };
}

/** Where GroupQueryAttention takes the scales of keys; those of values follow. */
const scaleInput = 12;

/** What makes the operator keep int8, a scale for each element of each head; null where it keeps float32. */
function roundCache(
  { graph, architecture, options }: Blocks,
  layer: number,
): { scales: string[]; attributes: Record<string, Attribute> } | null {
  const scales = options.cacheScales?.[layer];
  if (scales === undefined) return null;
  const { kvHeads, headSize } = architecture.attention;
  return {
    scales: kinds.map((kind) =>
      graph.constant(`layer.${layer}.${kind}.scales`, 'float32', [1, kvHeads, 1, headSize], scales[kind]),
    ),
    attributes: { k_quant_type: 'PER_CHANNEL', v_quant_type: 'PER_CHANNEL', kv_cache_bit_width: 8 },
  };
}

/** Splits packed queries, keys and values, to do with the first two what the operator does not. */
async function separate(
  blocks: Blocks,
  layer: number,
  packed: string,
  rotation: Rotation,
): Promise<string[]> {
  const { graph } = blocks;
  const { heads, kvHeads, headSize, headNorms, scale } = blocks.architecture.attention;
  const name = `layer.${layer}.attention`;
  const widths = BigInt64Array.from([heads, kvHeads, kvHeads], (count) => BigInt(count * headSize));
  const split = [`${name}.query`, `${name}.key`, `${name}.value`];
  graph.nodeWithOutputs('Split', [packed, graph.constant(`${name}.widths`, 'int64', [3], widths)], split, {
    attributes: { axis: -1 },
  });
  let [query, key, value] = split as [string, string, string];
  if (headNorms) {
    query = await normHeads(blocks, layer, 'q_norm', query, heads, scale);
    key = await normHeads(blocks, layer, 'k_norm', key, kvHeads);
  }
  if (rotation.positions === null) return [query, key, value];
  return [rotate(blocks, query, heads, rotation), rotate(blocks, key, kvHeads, rotation), value];
}

/** Norms each head by itself: [B, S, heads × head size] in and out. */
async function normHeads(
  blocks: Blocks,
  layer: number,
  module: string,
  input: string,
  heads: number,
  times = 1,
): Promise<string> {
  const { graph, architecture } = blocks;
  const { headSize } = architecture.attention;
  const shape = (to: string, dims: number[]) =>
    graph.constant(`${input}.${to}`, 'int64', [dims.length], BigInt64Array.from(dims, BigInt));
  // 0 keeps a dimension as it is.
  const byHead = graph.node('Reshape', [input, shape('by_head', [0, 0, heads, headSize])], `${input}.split`);
  const tensor = `model.layers.${layer}.self_attn.${module}.weight`;
  const normed = await normAlone(
    blocks,
    { name: input, tensor, size: headSize, times },
    byHead,
    `${input}.normed`,
  );
  return graph.node('Reshape', [normed, shape('together', [0, 0, heads * headSize])], `${input}.joined`);
}

function rotate({ graph, architecture }: Blocks, part: string, heads: number, rotation: Rotation): string {
  const partly = rotation.dimensions !== architecture.attention.headSize;
  return graph.node(
    'RotaryEmbedding',
    [part, rotation.positions!, rotation.cos, rotation.sin],
    `${part}.rotated`,
    {
      domain: microsoft,
      attributes: partly ? { num_heads: heads, rotary_embedding_dim: rotation.dimensions } : {},
    },
  );
}
