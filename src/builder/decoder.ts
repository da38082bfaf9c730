import type { GraphBuilder } from '../onnx/graph.ts';
import type { Architecture } from './architecture.ts';
import { attend } from './attention.ts';
import type { CacheScales } from './cache-ranges.ts';
import { expertMlp } from './experts.ts';
import { type Blocks, linear } from './linear.ts';
import { gatherRows, project, slice } from './matrix-nodes.ts';
import { gatedMlp } from './mlp.ts';
import { norm, normAlone, type Residual } from './norm.ts';
import { type Rotation, rotations } from './rotation.ts';
import type { StoredMatrix, WeightFormat, WeightStore } from './weights.ts';

export interface DecoderOptions {
  /** Format of each layer's matrices. */
  layerFormats: readonly WeightFormat[];
  /** Format of the head, and of the embedding where they are one matrix. */
  headFormat: WeightFormat;
  /** Format of an embedding that is not the head. */
  embeddingFormat: WeightFormat;
  /** Of MatMulNBits. */
  accuracyLevel: number;
  logits: 'last' | 'all';
  /** Of an int8 KV cache, for each layer; null for one in float32. */
  cacheScales: readonly CacheScales[] | null;
  /** Positions in the rotary tables. */
  contextLength: number;
}

/**
 * Adds a whole decoder to `graph`, with the interface of `src/model/README.md`, streaming its weights
 * into `weights` in the order in which a run needs them.
 */
export async function buildDecoder(
  graph: GraphBuilder,
  weights: WeightStore,
  architecture: Architecture,
  options: DecoderOptions,
): Promise<void> {
  const blocks: Blocks = { graph, weights, architecture, options };
  const ids = graph.input('input_ids', 'int64', ['batch', 'sequence']);
  graph.input('seqlens_k', 'int32', ['batch']);
  graph.input('total_sequence_length', 'int32', [1]);
  const firstKept = options.logits === 'last' ? firstKeptPosition(graph) : null;
  const embedding = await storeEmbedding(blocks);
  const rotation = await rotations(blocks, ids);
  let residual: Residual = { sum: embed(blocks, ids, embedding), added: null };
  for (const [layer, { rope }] of architecture.layers.entries()) {
    residual = await decoderLayer(blocks, layer, residual, rotation[rope]!, firstKept);
  }
  await head(blocks, residual, embedding);
}

/** A tied embedding is stored once, in the head's format and under the head's name. */
async function storeEmbedding({ weights, architecture, options }: Blocks): Promise<StoredMatrix> {
  const { tiedHead, vocabularySize, hiddenSize } = architecture;
  const part = { tensor: 'model.embed_tokens.weight', rows: vocabularySize };
  if (tiedHead) return weights.matrix('head', [part], hiddenSize, options.headFormat);
  return weights.matrix('embedding', [part], hiddenSize, options.embeddingFormat);
}

/** Token ids [B, S] → [B, S, hidden]. */
function embed({ graph, architecture }: Blocks, ids: string, embedding: StoredMatrix): string {
  const rows = gatherRows(graph, ids, embedding, 'embedding');
  const { embedding: factor } = architecture.factors;
  return factor === 1 ? rows : multiply(graph, rows, factor, 'embedding.scaled');
}

/** Attention, then the MLP, each on the normed sum so far; what the MLP adds is left to the next norm. */
export async function decoderLayer(
  blocks: Blocks,
  layer: number,
  residual: Residual,
  rotation: Rotation,
  firstKept: string | null = null,
): Promise<Residual> {
  const { norms, mlp, layers } = blocks.architecture;
  const source = `model.layers.${layer}`;
  const name = `layer.${layer}`;
  const weightOf = (module: string) => `${source}.${module}.weight`;
  const before = await norm(blocks, `${name}.attention`, weightOf(norms.beforeAttention), residual);
  let attended = await attend(blocks, layer, before.normed, rotation);
  let { sum } = before;
  if (layer === layers.length - 1 && firstKept !== null) {
    // Only attention mixes positions: after the last one, nothing needs more than those whose logits are kept.
    attended = lastPositions(blocks.graph, attended, firstKept);
    sum = lastPositions(blocks.graph, sum, firstKept);
  }
  const mixed = await attentionOutput(blocks, layer, attended);
  const added = await normAfter(blocks, `${name}.attention.out`, norms.afterAttention, layer, mixed);
  const after = await norm(blocks, `${name}.mlp`, weightOf(norms.beforeMlp), { sum, added });
  const thought =
    mlp.kind === 'gated'
      ? await gatedMlp(blocks, mlp, layer, after.normed)
      : await expertMlp(blocks, mlp, layer, after.normed);
  return {
    sum: after.sum,
    added: await normAfter(blocks, `${name}.mlp.out`, norms.afterMlp, layer, thought),
  };
}

async function attentionOutput(blocks: Blocks, layer: number, attended: string): Promise<string> {
  const { attention, hiddenSize, factors } = blocks.architecture;
  const { heads, headSize, bias } = attention;
  const tensor = `model.layers.${layer}.self_attn.o_proj`;
  const parts = [{ tensor, rows: hiddenSize, times: factors.residual }];
  return linear(
    blocks,
    layer,
    `layer.${layer}.attention.out`,
    parts,
    heads * headSize,
    attended,
    bias.output,
  );
}

/** Some families norm what a block gives before it is added. */
async function normAfter(
  blocks: Blocks,
  name: string,
  module: string | null,
  layer: number,
  input: string,
): Promise<string> {
  if (module === null) return input;
  const weight = {
    name,
    tensor: `model.layers.${layer}.${module}.weight`,
    size: blocks.architecture.hiddenSize,
  };
  return normAlone(blocks, weight, input, `${name}.normed`);
}

/** Where the positions begin whose logits are wanted, counted from the end as Slice does. */
function firstKeptPosition(graph: GraphBuilder): string {
  return graph.node('Neg', [graph.input('num_logits_to_keep', 'int64', [1])], 'logits.first');
}

/** Past every length that a tensor can have: Slice clamps its end. */
const endOfAxis = 2 ** 31 - 1;

/** [B, S, hidden] → [B, K, hidden]. */
function lastPositions(graph: GraphBuilder, input: string, begin: string): string {
  return slice(graph, input, { begin, end: endOfAxis, axis: 1 }, `${input}.last`);
}

async function head(blocks: Blocks, residual: Residual, embedding: StoredMatrix): Promise<void> {
  const { graph, weights, architecture, options } = blocks;
  const { hiddenSize, vocabularySize, tiedHead, factors } = architecture;
  const { logits: factor, logitsSoftcap: cap } = factors;
  // The norm's weight takes over what logits are multiplied by: the head may be the embedding's matrix.
  const times = cap === null ? factor : factor / cap;
  const { normed } = await norm(blocks, 'final', 'model.norm.weight', residual, times);
  const part = { tensor: 'lm_head.weight', rows: vocabularySize };
  const matrix = tiedHead ? embedding : await weights.matrix('head', [part], hiddenSize, options.headFormat);
  const name = cap === null ? 'logits' : 'logits.uncapped';
  const projected = project(graph, normed, matrix, name, options.accuracyLevel);
  if (cap !== null) multiply(graph, graph.node('Tanh', [projected], 'logits.capped'), cap, 'logits');
  const positions = options.logits === 'all' ? 'sequence' : 'kept';
  graph.output('logits', 'float32', ['batch', positions, vocabularySize]);
}

function multiply(graph: GraphBuilder, input: string, factor: number, output: string): string {
  const constant = graph.constant(`${output}.factor`, 'float32', [1], Float32Array.of(factor));
  return graph.node('Mul', [input, constant], output);
}
