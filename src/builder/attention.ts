import { elementTypes, type GraphBuilder, microsoft } from '../onnx/graph.ts';
import type { Architecture } from './config.ts';
import { type Blocks, linear } from './linear.ts';
import { rotaryTables } from './rope.ts';

const tables = ['rotary.cos', 'rotary.sin'];

/**
 * Stores the tables that all layers rotate with.
 *
 * @returns the tokens' positions [B, S], for layers that rotate outside of the attention; else null
 */
export async function rotary(
  { graph, weights, architecture, options }: Blocks,
  ids: string,
): Promise<string | null> {
  const { rope, headSize } = architecture;
  const { cos, sin } = rotaryTables(rope, headSize, options.contextLength);
  const dims = [options.contextLength, headSize / 2];
  graph.external('rotary.cos', 'float32', dims, await weights.table(cos));
  graph.external('rotary.sin', 'float32', dims, await weights.table(sin));
  return rotatesInside(architecture) ? null : positionsOf(graph, ids);
}

/** GroupQueryAttention rotates heads of a multiple of 16; smaller heads are those of toys. */
function rotatesInside({ headSize }: Architecture): boolean {
  return headSize % 16 === 0;
}

/**
 * Rotary, grouped-query attention over the KV cache: [B, S, hidden] → [B, S, heads × head size].
 *
 * Queries, keys and values are one matrix; the layer's past and present become inputs and outputs.
 */
export async function attend(
  blocks: Blocks,
  layer: number,
  input: string,
  positions: string | null,
): Promise<string> {
  const { graph, architecture } = blocks;
  const { heads, kvHeads, headSize, hiddenSize, bias } = architecture;
  const source = `model.layers.${layer}.self_attn`;
  const name = `layer.${layer}.attention`;
  const parts = [
    { tensor: `${source}.q_proj`, rows: heads * headSize },
    { tensor: `${source}.k_proj`, rows: kvHeads * headSize },
    { tensor: `${source}.v_proj`, rows: kvHeads * headSize },
  ];
  const packed = await linear(blocks, `${name}.qkv`, parts, hiddenSize, input, bias.qkv);
  const { past, present } = cache(graph, layer, architecture);
  const qkv = positions === null ? [packed, '', ''] : rotated(graph, name, packed, architecture, positions);
  const inputs = [...qkv, ...past, 'seqlens_k', 'total_sequence_length'];
  if (positions === null) inputs.push(...tables);
  const attended = `${name}.heads`;
  graph.nodeWithOutputs('GroupQueryAttention', inputs, [attended, ...present], {
    domain: microsoft,
    attributes: { num_heads: heads, kv_num_heads: kvHeads, do_rotary: positions === null ? 1 : 0 },
  });
  return attended;
}

function cache(
  graph: GraphBuilder,
  layer: number,
  { kvHeads, headSize }: Architecture,
): { past: string[]; present: string[] } {
  const kinds = ['key', 'value'];
  const shape = (capacity: string) => ['batch', kvHeads, capacity, headSize];
  return {
    past: kinds.map((kind) =>
      graph.input(`past_key_values.${layer}.${kind}`, 'float32', shape('past_capacity')),
    ),
    present: kinds.map((kind) => graph.output(`present.${layer}.${kind}`, 'float32', shape('capacity'))),
  };
}

/** Splits packed queries, keys and values, and rotates the first two. */
function rotated(
  graph: GraphBuilder,
  name: string,
  packed: string,
  { heads, kvHeads, headSize }: Architecture,
  positions: string,
): string[] {
  const widths = BigInt64Array.from([heads, kvHeads, kvHeads], (count) => BigInt(count * headSize));
  const [query, key, value] = [`${name}.query`, `${name}.key`, `${name}.value`];
  graph.nodeWithOutputs(
    'Split',
    [packed, graph.constant(`${name}.widths`, 'int64', [3], widths)],
    [query, key, value],
    { attributes: { axis: -1 } },
  );
  const rotate = (part: string) =>
    graph.node('RotaryEmbedding', [part, positions, ...tables], `${part}.rotated`, { domain: microsoft });
  return [rotate(query), rotate(key), value];
}

/**
 * The position of every new token, as GroupQueryAttention counts them: max(T − S, 0) + s. A row of a
 * padded prompt has T < S.
 */
function positionsOf(graph: GraphBuilder, ids: string): string {
  const int64 = (name: string, value: bigint, dims: number[]) =>
    graph.constant(`positions.${name}`, 'int64', dims, BigInt64Array.of(value));
  const [zero, one, axis] = [int64('zero', 0n, []), int64('one', 1n, []), int64('axis', 1n, [1])];
  const shape = graph.node('Shape', [ids], 'positions.shape');
  const length = graph.node('Gather', [shape, one], 'positions.length');
  const steps = graph.node('Range', [zero, length, one], 'positions.steps');
  const last = graph.node('Cast', ['seqlens_k'], 'positions.last', {
    attributes: { to: elementTypes.int64 },
  });
  const total = graph.node('Add', [last, one], 'positions.total');
  const past = graph.node('Sub', [total, length], 'positions.past');
  const first = graph.node('Max', [past, zero], 'positions.first');
  const column = graph.node('Unsqueeze', [first, axis], 'positions.column');
  return graph.node('Add', [column, steps], 'positions');
}
