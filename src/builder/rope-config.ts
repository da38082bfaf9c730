import * as z from 'zod';
import { BuildError, unsupported } from './errors.ts';
import type { Rope, RopeScaling } from './rope.ts';

const size = z.number().int().positive();

/** `rope_scaling` or `rope_parameters` of `config.json`; a scaling's own fields are read with it. */
export const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  partial_rotary_factor: z.number().positive().max(1).optional(),
  factor: z.number().positive().optional(),
});

export type RopeFields = z.infer<typeof ropeSchema>;

/** Where a rotation's fields stand, and what they are measured by. */
export interface RopeSource {
  /** What errors call the field. */
  field: string;
  parameters: RopeFields | undefined;
  theta: number;
  headSize: number;
  /** `partial_rotary_factor` where it stands beside the other fields. */
  rotated: number | undefined;
  contextLengthMax: number;
  /** `original_max_position_embeddings` where it stands beside the other fields. */
  originalContextLength: number | undefined;
}

/** @throws BuildError `architecture_unsupported`, `checkpoint_invalid` */
export function readRope(source: RopeSource): Rope {
  const { parameters, headSize } = source;
  const rotated = source.rotated ?? parameters?.partial_rotary_factor ?? 1;
  const dimensions = Math.floor(headSize * rotated);
  // The operators rotate pairs, by eights; every model there is does so too.
  if (dimensions % 8 !== 0) {
    throw unsupported('partial_rotary_factor', rotated, `head_dim × it must be a multiple of 8`);
  }
  return {
    theta: parameters?.rope_theta ?? source.theta,
    dimensions,
    scaling: parameters === undefined ? null : readScaling(source, parameters, dimensions),
  };
}

/** Tokens beyond which the model would rotate in another way than it does up to them; null if none. */
export function contextOfRope(source: RopeSource): number | null {
  return typeOf(source.parameters) === 'longrope' ? originalOf(source) : null;
}

function typeOf(parameters: RopeFields | undefined): string {
  const type = parameters?.rope_type ?? parameters?.type ?? 'default';
  // Configurations of before the name was settled.
  return type === 'su' ? 'longrope' : type;
}

function readScaling(source: RopeSource, parameters: RopeFields, dimensions: number): RopeScaling | null {
  const type = typeOf(parameters);
  // `dynamic` changes what is beyond max_position_embeddings, and no model is built for that.
  if (type === 'default' || type === 'dynamic') return null;
  if (type === 'linear') return { type, factor: parseScaling(linearSchema, source).factor };
  if (type === 'llama3') return llama3(source);
  if (type === 'yarn') return yarn(source);
  if (type === 'longrope') return longrope(source, dimensions);
  const supported = 'default, dynamic, linear, llama3, longrope and yarn can be built';
  throw unsupported(`${source.field}.rope_type`, type, supported);
}

const linearSchema = z.object({ factor: z.number().positive() });

const llama3Schema = z.object({
  factor: z.number().positive(),
  low_freq_factor: z.number().positive(),
  high_freq_factor: z.number().positive(),
});

function llama3(source: RopeSource): RopeScaling {
  const { factor, low_freq_factor, high_freq_factor } = parseScaling(llama3Schema, source);
  return {
    type: 'llama3',
    factor,
    lowFrequencyFactor: low_freq_factor,
    highFrequencyFactor: high_freq_factor,
    originalContextLength: originalOf(source),
  };
}

const yarnSchema = z.object({
  factor: z.number().positive(),
  beta_fast: z.number().positive().nullish(),
  beta_slow: z.number().positive().nullish(),
  attention_factor: z.number().positive().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish(),
});

function yarn(source: RopeSource): RopeScaling {
  const fields = parseScaling(yarnSchema, source);
  for (const name of ['mscale', 'mscale_all_dim'] as const) {
    if (fields[name]) throw unsupported(`${source.field}.${name}`, fields[name], 'yarn is built without it');
  }
  return {
    type: 'yarn',
    factor: fields.factor,
    betaFast: fields.beta_fast ?? 32,
    betaSlow: fields.beta_slow ?? 1,
    originalContextLength: originalOf(source),
    truncate: fields.truncate ?? true,
    amplitude: fields.attention_factor ?? (fields.factor <= 1 ? 1 : 0.1 * Math.log(fields.factor) + 1),
  };
}

const factors = z.array(z.number().positive());
const longropeSchema = z.object({
  short_factor: factors,
  long_factor: factors,
  factor: z.number().positive().nullish(),
  attention_factor: z.number().positive().nullish(),
});

/**
 * Has one set of factors for prompts up to the original context and another for longer ones. A KV cache
 * cannot change from one to the other, so the first set is built, and the context ends where it does.
 */
function longrope(source: RopeSource, dimensions: number): RopeScaling {
  const fields = parseScaling(longropeSchema, source);
  if (fields.short_factor.length !== dimensions / 2) {
    throw invalid(
      `${source.field}.short_factor`,
      `has ${fields.short_factor.length} of ${dimensions / 2} factors`,
    );
  }
  const original = originalOf(source);
  const stretch = fields.factor ?? source.contextLengthMax / original;
  const amplitude =
    fields.attention_factor ?? (stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original)));
  return { type: 'factors', factors: fields.short_factor, amplitude };
}

const originalSchema = z.object({ original_max_position_embeddings: size.nullish() });

function originalOf(source: RopeSource): number {
  const own = parseScaling(originalSchema, source).original_max_position_embeddings;
  return own ?? source.originalContextLength ?? source.contextLengthMax;
}

function parseScaling<T extends z.ZodType>(schema: T, { field, parameters }: RopeSource): z.infer<T> {
  const parsed = schema.safeParse(parameters);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw invalid(`${field}.${issue.path.join('.')}`, issue.message);
}

function invalid(field: string, reason: string): BuildError {
  return new BuildError('checkpoint_invalid', `config.json: ${field}: ${reason}`);
}
