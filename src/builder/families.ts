import * as z from 'zod';
import type { Architecture, LayerReach } from './architecture.ts';
import {
  commonFields,
  factor,
  type LlamaLike,
  llamaFields,
  llamaLike,
  optional,
  parseFields,
  reachesOf,
  size,
} from './config-fields.ts';
import { unsupported } from './errors.ts';
import { readRope, ropeSchema } from './rope-config.ts';

/**
 * What each of the architectures that can be built is made of, by its name in `config.json`. This is the
 * only place that knows families; each says in what it differs from Llama.
 */
export const families: Record<string, (json: unknown, name: string) => Architecture> = {
  LlamaForCausalLM: llama,
  Qwen2ForCausalLM: qwen2,
  Qwen3ForCausalLM: qwen3,
  Gemma2ForCausalLM: gemma2,
  Gemma3ForCausalLM: gemma3,
  Phi3ForCausalLM: phi3,
  GraniteForCausalLM: granite,
  GraniteMoeForCausalLM: graniteMoe,
};

/** One sentence for who brings another. */
export function whyUnsupported(name: string): string {
  const built = `what can be built is ${Object.keys(families).join(', ')}`;
  if (/ForConditionalGeneration$|Vision|Vl(For|Model)|VLFor/i.test(name)) {
    return `it reads images or sound, or is an encoder with a decoder, and slmd runs text decoders; ${built}`;
  }
  if (
    /For(MaskedLM|SequenceClassification|TokenClassification|QuestionAnswering|PreTraining)$|Bert|Model$/.test(
      name,
    )
  ) {
    return `it has no head that writes text; ${built}`;
  }
  return built;
}

function llama(json: unknown, name: string): Architecture {
  const fields = parseFields(llamaFields.extend({ mlp_bias: optional(z.boolean()) }), json);
  const base = llamaLike(name, fields);
  return { ...base, mlp: { ...base.mlp, bias: fields.mlp_bias ?? false } };
}

const qwenFields = llamaFields.extend({
  use_sliding_window: optional(z.boolean()),
  max_window_layers: optional(z.number().int().nonnegative()),
});

/** Queries, keys and values have a bias. */
function qwen2(json: unknown, name: string): Architecture {
  const { base, layers } = qwen(json, name);
  return { ...base, layers, attention: { ...base.attention, bias: { qkv: true, output: false } } };
}

/** Queries and keys are normed. */
function qwen3(json: unknown, name: string): Architecture {
  // Older configurations leave out what was the default then.
  const { base, layers } = qwen({ head_dim: 128, ...(json as object) }, name);
  return { ...base, layers, attention: { ...base.attention, headNorms: true } };
}

/** Layers from `max_window_layers` on may see a window only. */
function qwen(json: unknown, name: string): { base: LlamaLike; layers: LayerReach[] } {
  const fields = parseFields(qwenFields, json);
  const first = fields.use_sliding_window ? (fields.max_window_layers ?? 0) : Infinity;
  const window = fields.use_sliding_window ? fields.sliding_window : undefined;
  const windowed = { ...fields, sliding_window: window };
  return { base: llamaLike(name, fields), layers: reachesOf(windowed, (layer) => layer >= first) };
}

const gemmaFields = commonFields.extend({
  hidden_activation: optional(z.string()),
  query_pre_attn_scalar: factor,
  attn_logit_softcapping: optional(factor),
  final_logit_softcapping: optional(factor),
  use_bidirectional_attention: optional(z.boolean()),
});

/** Soft caps, and every other layer sees a window only. */
function gemma2(json: unknown, name: string): Architecture {
  const fields = parseFields(gemmaFields.extend({ rope_parameters: optional(ropeSchema) }), json);
  const base = gemma(name, fields, llamaLike(name, { ...fields, hidden_act: activationName(fields) }));
  return {
    ...base,
    layers: reachesOf(fields, (layer) => layer % 2 === 0),
    attention: { ...base.attention, softcap: fields.attn_logit_softcapping ?? null },
  };
}

const gemma3Fields = gemmaFields.extend({
  rope_local_base_freq: optional(factor),
  sliding_window_pattern: optional(size),
  rope_parameters: optional(
    z.object({ full_attention: optional(ropeSchema), sliding_attention: optional(ropeSchema) }),
  ),
});

/** Queries and keys are normed; most layers see a window only, and rotate in another way. */
function gemma3(json: unknown, name: string): Architecture {
  const fields = parseFields(gemma3Fields, json);
  if (fields.attn_logit_softcapping !== undefined) {
    throw unsupported('attn_logit_softcapping', fields.attn_logit_softcapping, 'Gemma 3 is built without it');
  }
  const hidden_act = activationName(fields);
  const base = gemma(name, fields, llamaLike(name, { ...fields, hidden_act, rope_parameters: undefined }));
  const { rope_parameters: ropes } = fields;
  const { headSize } = base.attention;
  const rope = (field: string, parameters: z.infer<typeof ropeSchema> | undefined, theta: number) =>
    readRope({
      ...{ field, parameters, theta, headSize, rotated: undefined },
      contextLengthMax: fields.max_position_embeddings,
      originalContextLength: undefined,
    });
  const global = ropes === undefined ? fields.rope_scaling : ropes.full_attention;
  const globalField = ropes === undefined ? 'rope_scaling' : 'rope_parameters.full_attention';
  const pattern = fields.sliding_window_pattern ?? 6;
  return {
    ...base,
    layers: reachesOf(fields, (layer) => (layer + 1) % pattern !== 0, { full: 0, sliding: 1 }),
    ropes: [
      rope(globalField, global, fields.rope_theta ?? 1e6),
      rope('rope_parameters.sliding_attention', ropes?.sliding_attention, fields.rope_local_base_freq ?? 1e4),
    ],
    attention: { ...base.attention, headNorms: true },
  };
}

function activationName(fields: z.infer<typeof gemmaFields>): string {
  return fields.hidden_activation ?? 'gelu_pytorch_tanh';
}

/** Norms before and after each block, whose weights are kept less one; a scaled embedding; a bounded head. */
function gemma(name: string, fields: z.infer<typeof gemmaFields>, base: LlamaLike): Architecture {
  if (fields.use_bidirectional_attention) {
    throw unsupported(
      'use_bidirectional_attention',
      true,
      `${name} is then an encoder, which does not write text`,
    );
  }
  return {
    ...base,
    norms: {
      epsilon: fields.rms_norm_eps,
      plusOne: true,
      beforeAttention: 'input_layernorm',
      afterAttention: 'post_attention_layernorm',
      beforeMlp: 'pre_feedforward_layernorm',
      afterMlp: 'post_feedforward_layernorm',
    },
    attention: { ...base.attention, scale: fields.query_pre_attn_scalar ** -0.5 },
    factors: {
      ...base.factors,
      embedding: Math.sqrt(fields.hidden_size),
      logitsSoftcap: fields.final_logit_softcapping ?? null,
    },
    tiedHead: fields.tie_word_embeddings ?? true,
  };
}

/** Tensors that belong together are one; heads may be rotated in part; all layers may see a window only. */
function phi3(json: unknown, name: string): Architecture {
  const fields = parseFields(llamaFields, json);
  const base = llamaLike(name, fields);
  return {
    ...base,
    layers: reachesOf(fields, () => fields.sliding_window !== undefined),
    attention: { ...base.attention, joined: true },
    mlp: { ...base.mlp, joined: true },
  };
}

const graniteFields = llamaFields.extend({
  mlp_bias: optional(z.boolean()),
  embedding_multiplier: optional(factor),
  residual_multiplier: optional(factor),
  attention_multiplier: optional(factor),
  logits_scaling: optional(factor),
});

/** Factors in four places. */
function granite(json: unknown, name: string): LlamaLike {
  const fields = parseFields(graniteFields, json);
  const base = llamaLike(name, fields);
  return {
    ...base,
    attention: { ...base.attention, scale: fields.attention_multiplier ?? 1 },
    mlp: { ...base.mlp, bias: fields.mlp_bias ?? false },
    factors: {
      embedding: fields.embedding_multiplier ?? 1,
      residual: fields.residual_multiplier ?? 1,
      logits: 1 / (fields.logits_scaling ?? 1),
      logitsSoftcap: null,
    },
  };
}

const graniteMoeFields = graniteFields.extend({ num_local_experts: size, num_experts_per_tok: size });

/** As Granite, with experts. */
function graniteMoe(json: unknown, name: string): Architecture {
  const base = granite(json, name);
  const fields = parseFields(graniteMoeFields, json);
  const { size, activation } = base.mlp;
  return {
    ...base,
    mlp: {
      kind: 'experts',
      size,
      activation,
      experts: fields.num_local_experts,
      expertsPerToken: fields.num_experts_per_tok,
    },
  };
}
