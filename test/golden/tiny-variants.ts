/**
 * The tiny checkpoints that have golden logits, by name.
 *
 * As a script, writes them all below the directory it is given: see make_tiny_llama.py.
 */

import { join } from 'node:path';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';

const llamaVariants = {
  tied: {},
  untied: { seed: 2, tied: false },
  every_head_has_its_keys: { seed: 3, kvHeads: 4 },
  small_heads: { seed: 4, heads: 8, kvHeads: 4, headSize: 8 },
  wide_heads: { seed: 5, headSize: 32 },
  biased: { seed: 6, bias: true },
  bf16: { seed: 7, dtype: 'BF16' },
  f16: { seed: 8, dtype: 'F16' },
  sharded: { seed: 9, shards: 3 },
  linear_rope: { seed: 10, config: { rope_scaling: { type: 'linear', factor: 4 } } },
  llama3_rope: {
    seed: 11,
    config: {
      rope_theta: undefined,
      rope_parameters: {
        rope_type: 'llama3',
        rope_theta: 500000,
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 32,
      },
    },
  },
  yarn_rope: {
    seed: 12,
    config: {
      rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 16, beta_fast: 8 },
    },
  },
  dynamic_rope: { seed: 13, config: { rope_scaling: { rope_type: 'dynamic', factor: 4 } } },
} satisfies Record<string, TinyCheckpointOptions>;

const qwen2 = { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2', rms_norm_eps: 1e-6 };
const qwen3 = { architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3', rms_norm_eps: 1e-6 };

const qwenVariants = {
  qwen2: { seed: 20, layout: { qkvBias: true }, config: qwen2 },
  qwen2_untied_bf16_shards: {
    ...{ seed: 21, tied: false, dtype: 'BF16', shards: 2 },
    layout: { qkvBias: true },
    config: { ...qwen2, rope_theta: 1000000 },
  },
  qwen2_window: {
    ...{ seed: 22, layers: 3 },
    layout: { qkvBias: true },
    config: { ...qwen2, use_sliding_window: true, sliding_window: 6, max_window_layers: 1 },
  },
  qwen3: { seed: 23, headSize: 32, layout: { headNorms: true }, config: qwen3 },
  qwen3_untied_yarn: {
    ...{ seed: 24, tied: false, headSize: 32 },
    layout: { headNorms: true },
    config: {
      ...qwen3,
      rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 64 },
    },
  },
} satisfies Record<string, TinyCheckpointOptions>;

const gemma = {
  head_dim: 32,
  rms_norm_eps: 1e-6,
  hidden_act: undefined,
  hidden_activation: 'gelu_pytorch_tanh',
};
const gemma2 = {
  ...gemma,
  architectures: ['Gemma2ForCausalLM'],
  model_type: 'gemma2',
  query_pre_attn_scalar: 24,
  sliding_window: 6,
  attn_logit_softcapping: 5.5,
  final_logit_softcapping: 10.5,
};
const gemma3 = {
  ...gemma,
  architectures: ['Gemma3ForCausalLM'],
  model_type: 'gemma3_text',
  query_pre_attn_scalar: 24,
  sliding_window: 6,
  sliding_window_pattern: 3,
  rope_theta: 1000000,
  rope_local_base_freq: 10000,
  attn_logit_softcapping: null,
  final_logit_softcapping: null,
};
const gemmaLayout = { normsAround: true, normsLessOne: true };

const gemmaVariants = {
  gemma2: { seed: 30, headSize: 32, layout: gemmaLayout, config: gemma2 },
  gemma3: { seed: 31, layers: 4, headSize: 32, layout: { ...gemmaLayout, headNorms: true }, config: gemma3 },
  gemma3_linear_rope_softcap: {
    ...{ seed: 32, layers: 3, headSize: 32, dtype: 'BF16' },
    layout: { ...gemmaLayout, headNorms: true },
    config: {
      ...gemma3,
      rope_scaling: { rope_type: 'linear', factor: 8 },
      final_logit_softcapping: 10.5,
    },
  },
  gemma3_new_config: {
    ...{ seed: 33, layers: 2, headSize: 32 },
    layout: { ...gemmaLayout, headNorms: true },
    config: {
      ...gemma3,
      ...{ rope_theta: undefined, rope_local_base_freq: undefined, sliding_window_pattern: undefined },
      layer_types: ['sliding_attention', 'full_attention'],
      rope_parameters: {
        full_attention: { rope_type: 'default', rope_theta: 1000000 },
        sliding_attention: { rope_type: 'default', rope_theta: 20000 },
      },
    },
  },
} satisfies Record<string, TinyCheckpointOptions>;

const phi3 = { architectures: ['Phi3ForCausalLM'], model_type: 'phi3', head_dim: undefined, pad_token_id: 0 };

const phiVariants = {
  phi3: { seed: 40, tied: false, layout: { joined: true }, config: phi3 },
  phi3_partly_rotated: {
    ...{ seed: 41, hiddenSize: 128, heads: 4, kvHeads: 2, headSize: 32 },
    layout: { joined: true },
    config: { ...phi3, partial_rotary_factor: 0.75, sliding_window: 7 },
  },
  phi3_half_rotated: {
    ...{ seed: 42, hiddenSize: 128, heads: 4, kvHeads: 2, headSize: 32 },
    layout: { joined: true },
    config: { ...phi3, partial_rotary_factor: 0.5 },
  },
  phi3_longrope: {
    ...{ seed: 43, contextLength: 256, tied: false },
    layout: { joined: true },
    config: {
      ...phi3,
      original_max_position_embeddings: 64,
      rope_scaling: {
        type: 'longrope',
        short_factor: [1, 1.05, 1.1, 1.2, 1.4, 1.7, 2, 2.5],
        long_factor: [1, 1.5, 2, 3, 5, 8, 13, 20],
      },
    },
  },
} satisfies Record<string, TinyCheckpointOptions>;

const granite = {
  architectures: ['GraniteForCausalLM'],
  model_type: 'granite',
  embedding_multiplier: 12,
  residual_multiplier: 0.22,
  attention_multiplier: 0.0625,
  logits_scaling: 8,
};
const graniteMoe = {
  ...granite,
  architectures: ['GraniteMoeForCausalLM'],
  model_type: 'granitemoe',
  num_experts_per_tok: 2,
};

const graniteVariants = {
  granite: { seed: 50, config: granite },
  granite_untied_biased: { seed: 51, tied: false, bias: true, config: granite },
  granite_moe: {
    ...{ seed: 52, intermediateSize: 44 },
    layout: { experts: 6 },
    config: { ...graniteMoe, num_local_experts: 6 },
  },
  granite_moe_bf16_shards: {
    ...{ seed: 53, intermediateSize: 44, tied: false, dtype: 'BF16', shards: 2 },
    layout: { experts: 8 },
    config: { ...graniteMoe, num_local_experts: 8, num_experts_per_tok: 3 },
  },
} satisfies Record<string, TinyCheckpointOptions>;

export const tinyVariants = {
  ...llamaVariants,
  ...qwenVariants,
  ...gemmaVariants,
  ...phiVariants,
  ...graniteVariants,
};

/** One checkpoint of each family; the others of a family differ in what quantization does not touch. */
export const families = [
  'tied',
  'qwen2',
  'qwen3',
  'gemma2',
  'gemma3',
  'phi3',
  'granite',
  'granite_moe',
] as const satisfies (keyof typeof tinyVariants)[];

if (import.meta.main) {
  const dir = process.argv[2];
  if (dir === undefined) throw new Error('usage: tiny-variants.ts <directory>');
  for (const [name, options] of Object.entries(tinyVariants)) writeTinyCheckpoint(join(dir, name), options);
}
