import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers, randomWeights } from './random.ts';
import { type FileTensor, type WeightType, writeSafetensors } from './safetensors-file.ts';

/** In what a family's tensors differ from Llama's. */
export interface TinyLayout {
  /** Of queries, keys and values only. */
  qkvBias?: boolean;
  /** Norms of each head's query and key. */
  headNorms?: boolean;
  /** A norm before and one after each block. */
  normsAround?: boolean;
  /** Norms' weights are kept less one. */
  normsLessOne?: boolean;
  /** Queries, keys and values are one tensor, gate and up another. */
  joined?: boolean;
  /** This many experts in place of one MLP. */
  experts?: number;
}

/**
 * A decoder that is small enough to be built and run in milliseconds, a Llama unless told otherwise. Its
 * sizes avoid round numbers.
 */
export interface TinyCheckpointOptions {
  seed?: number;
  layers?: number;
  hiddenSize?: number;
  intermediateSize?: number;
  heads?: number;
  kvHeads?: number;
  headSize?: number;
  vocabularySize?: number;
  contextLength?: number;
  tied?: boolean;
  bias?: boolean;
  dtype?: WeightType;
  shards?: number;
  layout?: TinyLayout;
  /** Gives every matrix [rows, columns] other values. */
  transform?: (name: string, values: Float32Array, columns: number) => Float32Array;
  /** Fields of `config.json` that replace or follow the usual ones. */
  config?: Record<string, unknown>;
}

const defaults = {
  seed: 1,
  layers: 2,
  hiddenSize: 64,
  intermediateSize: 172,
  heads: 4,
  kvHeads: 2,
  headSize: 16,
  vocabularySize: 260,
  contextLength: 256,
  tied: true,
  bias: false,
  dtype: 'F32' as WeightType,
  shards: 1,
  layout: {} as TinyLayout,
  transform: (_name: string, values: Float32Array, _columns: number) => values,
  config: {},
};

type Tiny = typeof defaults;

/** Writes `config.json` and random weights into `dir`, which is made. Same options, same bytes. */
export function writeTinyCheckpoint(dir: string, options: TinyCheckpointOptions = {}): void {
  const tiny: Tiny = { ...defaults, ...options } as Tiny;
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'config.json'), `${JSON.stringify(tinyConfig(tiny), null, 2)}\n`);
  const tensors = tinyTensors(tiny);
  if (tiny.shards === 1) writeSafetensors(join(dir, 'model.safetensors'), tensors, tiny.dtype);
  else writeShards(dir, tensors, tiny);
}

function tinyConfig(tiny: Tiny): Record<string, unknown> {
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: tiny.hiddenSize,
    intermediate_size: tiny.intermediateSize,
    num_hidden_layers: tiny.layers,
    num_attention_heads: tiny.heads,
    num_key_value_heads: tiny.kvHeads,
    head_dim: tiny.headSize,
    vocab_size: tiny.vocabularySize,
    max_position_embeddings: tiny.contextLength,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    hidden_act: 'silu',
    tie_word_embeddings: tiny.tied,
    attention_bias: tiny.bias,
    mlp_bias: tiny.bias,
    bos_token_id: null,
    eos_token_id: null,
    ...tiny.config,
  };
}

function tinyTensors(tiny: Tiny): Record<string, FileTensor> {
  const { heads, kvHeads, headSize, hiddenSize, layout } = tiny;
  const tensors = new TinyTensors(tiny);
  tensors.matrix('model.embed_tokens.weight', tiny.vocabularySize, hiddenSize, 0.4);
  for (let layer = 0; layer < tiny.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    tensors.norm(`${prefix}.input_layernorm.weight`);
    const own = { q_proj: heads * headSize, k_proj: kvHeads * headSize, v_proj: kvHeads * headSize };
    const parts = layout.joined ? { qkv_proj: (heads + 2 * kvHeads) * headSize } : own;
    for (const [part, rows] of Object.entries(parts)) {
      tensors.linear(`${prefix}.self_attn.${part}`, rows, hiddenSize, layout.qkvBias);
    }
    tensors.linear(`${prefix}.self_attn.o_proj`, hiddenSize, heads * headSize);
    if (layout.headNorms) {
      for (const part of ['q', 'k']) tensors.norm(`${prefix}.self_attn.${part}_norm.weight`, headSize);
    }
    tensors.norm(`${prefix}.post_attention_layernorm.weight`);
    if (layout.normsAround) {
      for (const at of ['pre', 'post']) tensors.norm(`${prefix}.${at}_feedforward_layernorm.weight`);
    }
    mlpTensors(tensors, tiny, prefix);
  }
  tensors.norm('model.norm.weight');
  if (!tiny.tied) tensors.matrix('lm_head.weight', tiny.vocabularySize, hiddenSize, 0.4);
  return tensors.all;
}

function mlpTensors(tensors: TinyTensors, tiny: Tiny, prefix: string): void {
  const { hiddenSize, intermediateSize, layout } = tiny;
  if (layout.experts !== undefined) {
    const experts = `${prefix}.block_sparse_moe`;
    tensors.linear(`${experts}.router.layer`, layout.experts, hiddenSize);
    tensors.experts(`${experts}.input_linear.weight`, [layout.experts, 2 * intermediateSize, hiddenSize]);
    tensors.experts(`${experts}.output_linear.weight`, [layout.experts, hiddenSize, intermediateSize]);
    return;
  }
  if (layout.joined) {
    tensors.linear(`${prefix}.mlp.gate_up_proj`, 2 * intermediateSize, hiddenSize);
  } else {
    tensors.linear(`${prefix}.mlp.gate_proj`, intermediateSize, hiddenSize);
    tensors.linear(`${prefix}.mlp.up_proj`, intermediateSize, hiddenSize);
  }
  tensors.linear(`${prefix}.mlp.down_proj`, hiddenSize, intermediateSize);
}

/** Random tensors by name; their values depend on the seed and on the order in which they are made. */
class TinyTensors {
  readonly all: Record<string, FileTensor> = {};
  readonly #tiny: Tiny;
  readonly #random: () => number;

  constructor(tiny: Tiny) {
    this.#tiny = tiny;
    this.#random = randomNumbers(tiny.seed);
  }

  matrix(name: string, rows: number, columns: number, deviation: number): void {
    const values = randomWeights(this.#random, rows * columns, deviation);
    this.all[name] = { shape: [rows, columns], values: this.#tiny.transform(name, values, columns) };
  }

  linear(module: string, rows: number, columns: number, bias = this.#tiny.bias): void {
    // More than variance-preserving: what layers add outweighs the embedding, so answers vary.
    this.matrix(`${module}.weight`, rows, columns, 2 / Math.sqrt(columns));
    const values = () => randomWeights(this.#random, rows, 0.3);
    if (bias) this.all[`${module}.bias`] = { shape: [rows], values: values() };
  }

  experts(name: string, shape: [number, number, number]): void {
    const [experts, rows, columns] = shape;
    this.matrix(name, experts * rows, columns, 2 / Math.sqrt(columns));
    this.all[name] = { ...this.all[name]!, shape };
  }

  norm(name: string, size = this.#tiny.hiddenSize): void {
    const around = this.#tiny.layout.normsLessOne ? 0 : 1;
    const values = randomWeights(this.#random, size, 0.1).map((value) => around + value);
    this.all[name] = { shape: [size], values };
  }
}

/** Deals the tensors out in turn, so that parts which belong together lie in different files. */
function writeShards(dir: string, tensors: Record<string, FileTensor>, { shards, dtype }: Tiny): void {
  const weightMap: Record<string, string> = {};
  const files = Array.from({ length: shards }, () => ({}) as Record<string, FileTensor>);
  for (const [i, [name, tensor]] of Object.entries(tensors).entries()) {
    weightMap[name] = shardName(i % shards, shards);
    files[i % shards]![name] = tensor;
  }
  for (const [i, shard] of files.entries()) writeSafetensors(join(dir, shardName(i, shards)), shard, dtype);
  const index = { metadata: {}, weight_map: weightMap };
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify(index));
}

function shardName(i: number, shards: number): string {
  const number = (value: number) => String(value).padStart(5, '0');
  return `model-${number(i + 1)}-of-${number(shards)}.safetensors`;
}
