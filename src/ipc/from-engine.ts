import * as z from 'zod';
import type { FromEngine } from './messages.ts';

const key = z.int().nonnegative();
const ms = z.number().nonnegative();

const schema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('ready'),
    info: z.object({
      engine: z.object({
        name: z.string(),
        version: z.string(),
        backend: z.string(),
        backend_reason: z.string().nullable(),
        threads: z.int(),
        spin_us: z.int(),
        chosen_by: z.string(),
        accuracy_level: z.int().nullable(),
        accuracy_level_chosen_by: z.string(),
        rows: z.int().positive(),
        rows_chosen_by: z.string(),
        rows_gain: z.number().nullable(),
        speculation: z.boolean(),
        speculation_chosen_by: z.string(),
        draft_costs: z.array(z.number()).nullable(),
      }),
      model: z.object({
        id: z.string(),
        sha256: z.string(),
        layout: z.enum(['slmd', 'onnx', 'genai']),
        quantization: z.string(),
        context_length: z.int(),
        parameters: z.number(),
        verification: z
          .object({
            verdict: z.enum(['good', 'fair', 'poor']),
            against: z.string(),
            greedy_agreement: z.number(),
            kl_divergence: z.number(),
            perplexity_ratio: z.number().nullable(),
          })
          .nullable(),
      }),
      bench: z.object({
        prefill_tokens_per_second: z.number().nullable(),
        decode_tokens_per_second: z.number(),
      }),
      load_ms: ms,
    }),
  }),
  z.object({ type: z.literal('load_failed'), code: z.string(), message: z.string() }),
  z.object({ type: z.literal('progress'), key, prefilled_tokens: z.int(), prompt_tokens: z.int() }),
  z.object({ type: z.literal('tokens'), key, text: z.string(), completion_tokens: z.int() }),
  z.object({
    type: z.literal('done'),
    key,
    text: z.string(),
    format_complete: z.boolean(),
    finish_reason: z.enum(['stop', 'length', 'cancelled']),
    usage: z.object({
      prompt_tokens: z.int(),
      cached_tokens: z.int(),
      completion_tokens: z.int(),
      speculated_tokens: z.int(),
      accepted_tokens: z.int(),
      rerun_tokens: z.int(),
    }),
    stamps: z.object({ started_at: ms, tokenized_at: ms, first_token_at: ms, last_token_at: ms }),
  }),
  z.object({
    type: z.literal('failed'),
    key,
    code: z.enum(['prompt_too_long', 'invalid_request', 'schema_unsupported', 'engine_failed']),
    message: z.string(),
  }),
]) satisfies z.ZodType<FromEngine>;

/** A message of the engine, or null where it is none: a process that went wrong may send anything. */
export function parseFromEngine(message: unknown): FromEngine | null {
  return schema.safeParse(message).data ?? null;
}
