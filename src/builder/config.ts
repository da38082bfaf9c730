import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { BuildError, unsupported } from './errors.ts';
import type { Rope, RopeScaling } from './rope.ts';

/** What a decoder is made of, in terms of capabilities; no family names beyond `name`. */
export interface Architecture {
  /** `architectures[0]` of the checkpoint, for the manifest. */
  name: string;
  layers: number;
  hiddenSize: number;
  intermediateSize: number;
  heads: number;
  kvHeads: number;
  headSize: number;
  vocabularySize: number;
  /** Tokens that the model was trained to attend to. */
  contextLengthMax: number;
  normEpsilon: number;
  rope: Rope;
  /** Which linear layers have a bias. */
  bias: { qkv: boolean; attentionOutput: boolean; mlp: boolean };
  /** The head uses the embedding's matrix. */
  tiedHead: boolean;
}

const size = z.number().int().positive();
const nullable = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);

const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
});

const configSchema = z.object({
  architectures: z.array(z.string()).min(1),
  hidden_act: z.string(),
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: size,
  num_attention_heads: size,
  num_key_value_heads: nullable(size),
  head_dim: nullable(size),
  vocab_size: size,
  max_position_embeddings: size,
  rms_norm_eps: z.number().positive(),
  rope_theta: nullable(z.number().positive()),
  rope_scaling: nullable(ropeSchema),
  rope_parameters: nullable(ropeSchema),
  partial_rotary_factor: nullable(z.number()),
  attention_bias: nullable(z.boolean()),
  mlp_bias: nullable(z.boolean()),
  tie_word_embeddings: nullable(z.boolean()),
  quantization_config: z.unknown().optional(),
});

type Config = z.infer<typeof configSchema>;

/**
 * Reads `config.json` of a checkpoint.
 *
 * @throws BuildError `checkpoint_missing` without the file, `checkpoint_invalid` when a field is missing
 * or of the wrong type, `architecture_unsupported` when a value asks for what is not built here
 */
export async function readArchitecture(dir: string): Promise<Architecture> {
  let text: string;
  try {
    text = await readFile(join(dir, 'config.json'), 'utf8');
  } catch (cause) {
    throw new BuildError('checkpoint_missing', `${dir} has no config.json that can be read`, { cause });
  }
  return parseArchitecture(text);
}

/** As `readArchitecture`, from the file's text. */
export function parseArchitecture(text: string): Architecture {
  const config = parseConfig(text);
  if (config.hidden_act !== 'silu') throw unsupported('hidden_act', config.hidden_act, 'silu can be built');
  if (config.quantization_config != null) {
    throw unsupported('quantization_config', config.quantization_config, 'build the model it was made from');
  }
  const rotated = config.partial_rotary_factor ?? 1;
  if (rotated !== 1) throw unsupported('partial_rotary_factor', rotated, '1 can be built');
  const attentionBias = config.attention_bias ?? false;
  return {
    name: config.architectures[0]!,
    layers: config.num_hidden_layers,
    hiddenSize: config.hidden_size,
    intermediateSize: config.intermediate_size,
    ...headGeometry(config),
    vocabularySize: config.vocab_size,
    contextLengthMax: config.max_position_embeddings,
    normEpsilon: config.rms_norm_eps,
    rope: ropeOf(config),
    bias: { qkv: attentionBias, attentionOutput: attentionBias, mlp: config.mlp_bias ?? false },
    tiedHead: config.tie_word_embeddings ?? false,
  };
}

function parseConfig(text: string): Config {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new BuildError('checkpoint_invalid', 'config.json is not JSON', { cause });
  }
  const named = configSchema.pick({ architectures: true }).safeParse(json);
  // Other families lack Llama's fields: name the family, not the field that it does not have.
  if (named.success && named.data.architectures[0] !== 'LlamaForCausalLM') {
    throw unsupported('architectures[0]', named.data.architectures[0], 'LlamaForCausalLM can be built');
  }
  const parsed = configSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new BuildError(
    'checkpoint_invalid',
    `config.json: ${issue.path.join('.') || 'top level'}: ${issue.message}`,
  );
}

function headGeometry(config: Config): Pick<Architecture, 'heads' | 'kvHeads' | 'headSize'> {
  const heads = config.num_attention_heads;
  const kvHeads = config.num_key_value_heads ?? heads;
  if (heads % kvHeads !== 0) {
    throw new BuildError(
      'checkpoint_invalid',
      `config.json: num_key_value_heads ${kvHeads} does not divide num_attention_heads ${heads}`,
    );
  }
  const headSize = config.head_dim ?? config.hidden_size / heads;
  // GroupQueryAttention's own condition.
  if (headSize % 8 !== 0) throw unsupported('head_dim', headSize, 'multiples of 8 can be built');
  return { heads, kvHeads, headSize };
}

/** Newer configurations put everything into `rope_parameters`; older ones use two fields. */
function ropeOf(config: Config): Rope {
  const theta = config.rope_parameters?.rope_theta ?? config.rope_theta ?? 10000;
  const field = config.rope_parameters === undefined ? 'rope_scaling' : 'rope_parameters';
  const parameters = config[field];
  return { theta, scaling: parameters === undefined ? null : scalingOf(field, parameters, config) };
}

const linearSchema = z.object({ factor: z.number().positive() });
const llama3Schema = z.object({
  factor: z.number().positive(),
  low_freq_factor: z.number().positive(),
  high_freq_factor: z.number().positive(),
  original_max_position_embeddings: size.optional(),
});

function scalingOf(
  field: string,
  parameters: z.infer<typeof ropeSchema>,
  config: Config,
): RopeScaling | null {
  const type = parameters.rope_type ?? parameters.type ?? 'default';
  if (type === 'default') return null;
  if (type === 'linear') {
    const { factor } = parseScaling(linearSchema, parameters, field);
    return { type, factor };
  }
  if (type === 'llama3') {
    const llama3 = parseScaling(llama3Schema, parameters, field);
    return {
      type,
      factor: llama3.factor,
      lowFrequencyFactor: llama3.low_freq_factor,
      highFrequencyFactor: llama3.high_freq_factor,
      originalContextLength: llama3.original_max_position_embeddings ?? config.max_position_embeddings,
    };
  }
  throw unsupported(`${field}.rope_type`, type, 'default, linear and llama3 can be built');
}

function parseScaling<T extends z.ZodType>(schema: T, parameters: unknown, field: string): z.infer<T> {
  const parsed = schema.safeParse(parameters);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new BuildError(
    'checkpoint_invalid',
    `config.json: ${field}.${issue.path.join('.')}: ${issue.message}`,
  );
}
