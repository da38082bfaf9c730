import * as z from 'zod';
import type { Activation, Architecture, Attention, GatedMlp, LayerReach, Norms } from './architecture.ts';
import { BuildError, unsupported } from './errors.ts';
import { contextOfRope, type RopeSource, readRope, ropeSchema } from './rope-config.ts';

export const size = z.number().int().positive();
export const factor = z.number().positive();

/** A field that may be missing or null; both mean its default. */
export const optional = <T extends z.ZodType>(type: T) =>
  type.nullish().transform((value) => value ?? undefined);

/** What the `config.json` of every family has; defaults are those of transformers. */
export const commonFields = z.object({
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: optional(size),
  head_dim: optional(size),
  vocab_size: size,
  max_position_embeddings: size,
  original_max_position_embeddings: optional(size),
  rms_norm_eps: z.number().positive(),
  hidden_act: optional(z.string()),
  rope_theta: optional(factor),
  rope_scaling: optional(ropeSchema),
  partial_rotary_factor: optional(factor.max(1)),
  attention_bias: optional(z.boolean()),
  tie_word_embeddings: optional(z.boolean()),
  sliding_window: optional(size),
  layer_types: optional(z.array(z.string())),
});

/** With the rotation's newer form, in which one set of parameters is for all layers. */
export const llamaFields = commonFields.extend({ rope_parameters: optional(ropeSchema) });

export type CommonFields = z.infer<typeof commonFields>;
export type LlamaFields = z.infer<typeof llamaFields>;

/** @throws BuildError `checkpoint_invalid`, naming the field */
export function parseFields<T extends z.ZodType>(schema: T, json: unknown): z.infer<T> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new BuildError(
    'checkpoint_invalid',
    `config.json: ${issue.path.join('.') || 'top level'}: ${issue.message}`,
  );
}

export type LlamaLike = Architecture & { mlp: GatedMlp };

/** A decoder as Llama's: what the other families are described by their differences from. */
export function llamaLike(name: string, fields: LlamaFields): LlamaLike {
  const attention = attentionOf(fields);
  const source = ropeSourceOf(fields, attention.headSize);
  return {
    name,
    hiddenSize: fields.hidden_size,
    vocabularySize: fields.vocab_size,
    contextLengthMax: contextOfRope(source) ?? fields.max_position_embeddings,
    layers: Array.from({ length: fields.num_hidden_layers }, () => ({ window: null, rope: 0 })),
    ropes: [readRope(source)],
    norms: llamaNorms(fields.rms_norm_eps),
    attention,
    mlp: {
      kind: 'gated',
      size: fields.intermediate_size,
      activation: activationOf('hidden_act', fields.hidden_act ?? 'silu'),
      bias: false,
      joined: false,
    },
    factors: { embedding: 1, residual: 1, logits: 1, logitsSoftcap: null },
    tiedHead: fields.tie_word_embeddings ?? false,
  };
}

export function llamaNorms(epsilon: number): Norms {
  return {
    epsilon,
    plusOne: false,
    beforeAttention: 'input_layernorm',
    afterAttention: null,
    beforeMlp: 'post_attention_layernorm',
    afterMlp: null,
  };
}

export function attentionOf(fields: CommonFields): Attention {
  const heads = fields.num_attention_heads;
  const kvHeads = fields.num_key_value_heads ?? heads;
  if (heads % kvHeads !== 0) {
    throw new BuildError(
      'checkpoint_invalid',
      `config.json: num_key_value_heads ${kvHeads} does not divide num_attention_heads ${heads}`,
    );
  }
  const headSize = fields.head_dim ?? fields.hidden_size / heads;
  // GroupQueryAttention's own condition.
  if (headSize % 8 !== 0) throw unsupported('head_dim', headSize, 'multiples of 8 can be built');
  const bias = fields.attention_bias ?? false;
  return {
    heads,
    kvHeads,
    headSize,
    scale: 1 / Math.sqrt(headSize),
    softcap: null,
    headNorms: false,
    bias: { qkv: bias, output: bias },
    joined: false,
  };
}

const activations: Record<string, Activation> = { silu: 'silu', gelu_pytorch_tanh: 'gelu_tanh' };

export function activationOf(field: string, name: string): Activation {
  const known = Object.hasOwn(activations, name) ? activations[name] : undefined;
  if (known === undefined)
    throw unsupported(field, name, `${Object.keys(activations).join(', ')} can be built`);
  return known;
}

/** Newer configurations put everything into `rope_parameters`; older ones use two fields. */
function ropeSourceOf(fields: LlamaFields, headSize: number): RopeSource {
  const newer = fields.rope_parameters !== undefined;
  return {
    field: newer ? 'rope_parameters' : 'rope_scaling',
    parameters: newer ? fields.rope_parameters : fields.rope_scaling,
    theta: fields.rope_theta ?? 10000,
    headSize,
    rotated: fields.partial_rotary_factor,
    contextLengthMax: fields.max_position_embeddings,
    originalContextLength: fields.original_max_position_embeddings,
  };
}

/**
 * Which layers see a window only: `layer_types` says so by name, older configurations by a rule.
 *
 * @param isSliding the rule
 * @param ropes the places of the rotations for layers that see all, and for those that do not
 */
export function reachesOf(
  fields: CommonFields,
  isSliding: (layer: number) => boolean,
  ropes: { full: number; sliding: number } = { full: 0, sliding: 0 },
): LayerReach[] {
  const { num_hidden_layers: layers, layer_types: types, sliding_window: window } = fields;
  if (types !== undefined && types.length !== layers) {
    throw new BuildError(
      'checkpoint_invalid',
      `config.json: layer_types names ${types.length} of ${layers} layers`,
    );
  }
  const kinds = types ?? Array.from({ length: layers }, (_, i) => (isSliding(i) ? sliding : full));
  return kinds.map((kind) => {
    if (kind === full) return { window: null, rope: ropes.full };
    if (kind !== sliding) throw unsupported('layer_types', kind, `${full} and ${sliding} can be built`);
    return { window: window ?? null, rope: ropes.sliding };
  });
}

const full = 'full_attention';
const sliding = 'sliding_attention';
