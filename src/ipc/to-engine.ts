import * as z from 'zod';
import type { ToEngine } from './messages.ts';

/** A message; one about a generation that names it and nothing more; or none of ours. */
export type ParsedToEngine =
  | { kind: 'message'; message: ToEngine }
  | { kind: 'invalid_generate'; key: number; reason: string }
  | { kind: 'unknown'; reason: string };

const key = z.int().nonnegative();
const count = z.int().positive();

const load = z.object({
  type: z.literal('load'),
  model_dir: z.string().min(1),
  options: z.object({
    backend: z.enum(['auto', 'native', 'node']),
    threads: z.int().nonnegative(),
    rows: z.union([z.literal('auto'), count]),
    speculation: z.boolean(),
    prefill_chunk_tokens: count,
    context_length_max: count,
    max_tokens_default: count.nullable(),
    prefixes: z.object({ dir: z.string().min(1), bytes_max: z.int().nonnegative() }).nullable(),
  }),
  trust: z.object({ public_keys: z.string(), required: z.boolean() }).nullable().default(null),
  variant_kind: z.enum(['int4', 'int8', 'float32']).default('int4'),
});

const generate = z.object({
  type: z.literal('generate'),
  key,
  messages: z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })).min(1),
  max_tokens: count.nullable(),
  sampling: z.object({
    temperature: z.number().nonnegative(),
    top_k: z.int().nonnegative(),
    top_p: z.number().positive().max(1),
    min_p: z.number().min(0).max(1),
    repetition_penalty: z.number().positive(),
    seed: z.int(),
  }),
  stop: z.array(z.string().min(1)),
  response_format: z
    .discriminatedUnion('type', [
      z.object({ type: z.literal('json_object') }),
      z.object({ type: z.literal('json_schema'), schema: z.unknown() }),
    ])
    .nullable(),
});

const cancel = z.object({ type: z.literal('cancel'), key });

const toEngine = z.discriminatedUnion('type', [load, generate, cancel]) satisfies z.ZodType<ToEngine>;

/** The engine's door: beyond it every message is what `ipc/messages.ts` says. Reasons quote no values. */
export function parseToEngine(raw: unknown): ParsedToEngine {
  const parsed = toEngine.safeParse(raw);
  if (parsed.success) return { kind: 'message', message: parsed.data };
  const [issue] = parsed.error.issues;
  const reason = `${issue?.path.join('.') || 'message'} is not valid (${issue?.code})`;
  const named = generate.pick({ type: true, key: true }).safeParse(raw);
  return named.success
    ? { kind: 'invalid_generate', key: named.data.key, reason }
    : { kind: 'unknown', reason };
}
