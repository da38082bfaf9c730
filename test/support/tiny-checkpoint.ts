import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers, randomWeights } from './random.ts';
import { type FileTensor, type WeightType, writeSafetensors } from './safetensors-file.ts';

/** A Llama that is small enough to be built and run in milliseconds. Its sizes avoid round numbers. */
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
  const random = randomNumbers(tiny.seed);
  const tensors: Record<string, FileTensor> = {};
  const matrix = (name: string, rows: number, columns: number, deviation: number) => {
    const values = randomWeights(random, rows * columns, deviation);
    tensors[name] = { shape: [rows, columns], values: tiny.transform(name, values, columns) };
  };
  const linear = (module: string, rows: number, columns: number) => {
    // More than variance-preserving: what layers add outweighs the embedding, so answers vary.
    matrix(`${module}.weight`, rows, columns, 2 / Math.sqrt(columns));
    if (tiny.bias) tensors[`${module}.bias`] = { shape: [rows], values: randomWeights(random, rows, 0.3) };
  };
  const norm = (name: string) => {
    const values = randomWeights(random, tiny.hiddenSize, 0.1).map((value) => 1 + value);
    tensors[name] = { shape: [tiny.hiddenSize], values };
  };
  matrix('model.embed_tokens.weight', tiny.vocabularySize, tiny.hiddenSize, 0.4);
  for (let layer = 0; layer < tiny.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    norm(`${prefix}.input_layernorm.weight`);
    linear(`${prefix}.self_attn.q_proj`, tiny.heads * tiny.headSize, tiny.hiddenSize);
    linear(`${prefix}.self_attn.k_proj`, tiny.kvHeads * tiny.headSize, tiny.hiddenSize);
    linear(`${prefix}.self_attn.v_proj`, tiny.kvHeads * tiny.headSize, tiny.hiddenSize);
    linear(`${prefix}.self_attn.o_proj`, tiny.hiddenSize, tiny.heads * tiny.headSize);
    norm(`${prefix}.post_attention_layernorm.weight`);
    linear(`${prefix}.mlp.gate_proj`, tiny.intermediateSize, tiny.hiddenSize);
    linear(`${prefix}.mlp.up_proj`, tiny.intermediateSize, tiny.hiddenSize);
    linear(`${prefix}.mlp.down_proj`, tiny.hiddenSize, tiny.intermediateSize);
  }
  norm('model.norm.weight');
  if (!tiny.tied) matrix('lm_head.weight', tiny.vocabularySize, tiny.hiddenSize, 0.4);
  return tensors;
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
