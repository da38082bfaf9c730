import type { GraphBuilder } from '../onnx/graph.ts';
import { attend, rotary } from './attention.ts';
import type { Architecture } from './config.ts';
import { type Blocks, linear } from './linear.ts';
import { gatherRows, project, slice } from './matrix-nodes.ts';
import { mlp } from './mlp.ts';
import { norm, type Residual } from './norm.ts';
import type { StoredMatrix, WeightFormat, WeightStore } from './weights.ts';

export interface DecoderOptions {
  /** Format of the layers' matrices. */
  format: WeightFormat;
  /** Format of the head, and of the embedding where they are one matrix. */
  headFormat: WeightFormat;
  /** Format of an embedding that is not the head. */
  embeddingFormat: WeightFormat;
  /** Of MatMulNBits. */
  accuracyLevel: number;
  logits: 'last' | 'all';
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
  const embedding = await storeEmbedding(blocks);
  const positions = await rotary(blocks, ids);
  let residual: Residual = { sum: gatherRows(graph, ids, embedding, 'embedding'), added: null };
  for (let layer = 0; layer < architecture.layers; layer++) {
    residual = await decoderLayer(blocks, layer, residual, positions);
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

/** Attention, then the MLP, each on the normed sum so far; what the MLP adds is left to the next norm. */
async function decoderLayer(
  blocks: Blocks,
  layer: number,
  residual: Residual,
  positions: string | null,
): Promise<Residual> {
  const { heads, headSize, hiddenSize, bias, layers } = blocks.architecture;
  const source = `model.layers.${layer}`;
  const name = `layer.${layer}`;
  const before = await norm(blocks, `${name}.attention`, `${source}.input_layernorm.weight`, residual);
  let attended = await attend(blocks, layer, before.normed, positions);
  let { sum } = before;
  if (layer === layers - 1 && blocks.options.logits === 'last') {
    // Only attention mixes positions: after the last one, nothing needs more than the last position.
    attended = lastPosition(blocks.graph, attended);
    sum = lastPosition(blocks.graph, sum);
  }
  const out = [{ tensor: `${source}.self_attn.o_proj`, rows: hiddenSize }];
  const added = await linear(
    blocks,
    `${name}.attention.out`,
    out,
    heads * headSize,
    attended,
    bias.attentionOutput,
  );
  const after = await norm(blocks, `${name}.mlp`, `${source}.post_attention_layernorm.weight`, {
    sum,
    added,
  });
  return { sum: after.sum, added: await mlp(blocks, layer, after.normed) };
}

/** Past every length that a tensor can have: Slice clamps its end. */
const endOfAxis = 2 ** 31 - 1;

/** [B, S, hidden] → [B, 1, hidden]. */
function lastPosition(graph: GraphBuilder, input: string): string {
  return slice(graph, input, { begin: -1, end: endOfAxis, axis: 1 }, `${input}.last`);
}

async function head(blocks: Blocks, residual: Residual, embedding: StoredMatrix): Promise<void> {
  const { graph, weights, architecture, options } = blocks;
  const { hiddenSize, vocabularySize, tiedHead } = architecture;
  const { normed } = await norm(blocks, 'final', 'model.norm.weight', residual);
  const part = { tensor: 'lm_head.weight', rows: vocabularySize };
  const matrix = tiedHead ? embedding : await weights.matrix('head', [part], hiddenSize, options.headFormat);
  const logits = project(graph, normed, matrix, 'logits', options.accuracyLevel);
  graph.output(logits, 'float32', ['batch', options.logits === 'all' ? 'sequence' : 1, vocabularySize]);
}
