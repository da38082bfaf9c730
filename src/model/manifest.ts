import * as z from 'zod';

/** The file that makes a directory a model directory. */
export const manifestFile = 'slmd-model.json';

/** Ids appear in topics, file names and log lines. */
export const modelIdPattern = /^[a-z0-9][a-z0-9._-]{0,62}$/;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().positive();

/** How near a quantized model is to a more exact build of its checkpoint. */
export const verificationSchema = z.object({
  verdict: z.enum(['good', 'fair', 'poor']),
  /** What it was compared with, as `quantizationName` says it. */
  against: z.string(),
  /** Share of the reference's own tokens that this model would have chosen too. */
  greedy_agreement: z.number().min(0).max(1),
  /** Mean of KL(reference ‖ this model), in nats. */
  kl_divergence: z.number().min(0),
  /** Perplexity over that of the reference, on a fixed text; null where it is not in the model's language. */
  perplexity_ratio: z.number().positive().nullable(),
});

const bits = z.union([z.literal(4), z.literal(8), z.literal(16), z.literal(32)]);

/**
 * `slmd-model.json`: what a model is, and the hash of every other file of its directory.
 *
 * Format 1 is what `slmd model build` writes; format 2 is written for a model in another layout when it is
 * taken over, and names the layout and the graph. `format` is raised when an older engine could misread a newer directory; other fields may be added.
 */
export const manifestSchema = z.object({
  format: z.union([z.literal(1), z.literal(2)]),
  /** Of format 2: who laid out the files, transformers.js or onnxruntime-genai. */
  layout: z.enum(['onnx', 'genai']).optional(),
  /** Of format 2: the graph's path; what belongs to the model beside it is where its layout has it. */
  graph: z.string().optional(),
  id: z.string().regex(modelIdPattern),
  source: z.object({
    /** `architectures[0]` of the checkpoint. */
    architecture: z.string(),
  }),
  quantization: z.object({
    /** Bits per weight of the layers; 16 and 32 are floats, and have neither blocks nor levels. */
    bits,
    /** Layers with eight bits in a model of four; absent if none. */
    int8_layers: z.array(z.number().int().nonnegative()).optional(),
    /** Bits per weight of the head. */
    head_bits: bits,
    /** Weights that share a scale; null where a whole tensor or column does, and for floats. */
    block_size: count.nullable(),
    /** Of MatMulNBits: 4 rounds activations to int8, 0 keeps float32. */
    accuracy_level: z.number().int().min(0).max(4).nullable(),
    /** Its errors were spread by what the checkpoint made of texts; absent if not. */
    calibrated: z.literal(true).optional(),
    /** What the KV cache is kept in; absent for float32, and for what others laid out. */
    kv_cache: z.literal('int8').optional(),
  }),
  geometry: z.object({
    layers: count,
    heads: count,
    kv_heads: count,
    head_size: count,
    hidden_size: count,
    vocabulary_size: count,
  }),
  /** Whether `logits` holds the last position or all of them. */
  logits: z.enum(['last', 'all']),
  /** Tokens of prompt plus completion: the positions in the graph's rotary tables. */
  context_length: count,
  parameters: count,
  /** Tokens that end a generation; empty when the checkpoint names none. */
  eos_token_ids: z.array(z.number().int().nonnegative()),
  /** What `slmd model verify --against` found, where it has been run. */
  verification: verificationSchema.optional(),
  files: z.record(z.string(), z.object({ sha256, bytes: z.number().int().nonnegative() })),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type Verification = z.infer<typeof verificationSchema>;

/**
 * For people: `int4 b32`, `int8 b64`, `int4 b32 with 2 int8 layers`, `int8`, `float16`, `float32`; what keeps its
 * KV cache in int8 says so behind that.
 */
export function quantizationName(quantization: Manifest['quantization']): string {
  const weights = weightsName(quantization);
  return quantization.kv_cache === undefined ? weights : `${weights}, ${quantization.kv_cache} KV cache`;
}

function weightsName({ bits, block_size, int8_layers }: Manifest['quantization']): string {
  if (bits > 8) return `float${bits}`;
  if (block_size === null) return `int${bits}`;
  const mixed = int8_layers === undefined ? '' : ` with ${int8_layers.length} int8 layers`;
  return `int${bits} b${block_size}${mixed}`;
}

/** The bytes of a manifest: the same content always gives the same text. */
export function formatManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}
