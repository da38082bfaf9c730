import { z } from 'zod';
import type { ToEngine } from '../ipc/messages.ts';

/** What came in: a message, one for a generation that cannot be understood, or nothing of ours. */
export type Received =
  | { kind: 'message'; message: ToEngine }
  | { kind: 'invalid_generate'; key: number; reason: string }
  | { kind: 'unknown'; reason: string };

const key = z.number().int();
const count = z.number().int().positive();
const finite = z.number();

const load = z.object({
  type: z.literal('load'),
  model_dir: z.string().min(1),
  options: z.object({
    threads: z.number().int().nonnegative(),
    prefill_chunk_tokens: count,
    context_length_max: count,
  }),
});

const generate = z.object({
  type: z.literal('generate'),
  key,
  messages: z.array(z.object({ role: z.enum(['system', 'user', 'assistant']), content: z.string() })).min(1),
  max_tokens: count.nullable(),
  sampling: z.object({
    temperature: finite.nonnegative(),
    top_k: z.number().int().nonnegative(),
    top_p: finite.positive().max(1),
    min_p: finite.min(0).max(1),
    repetition_penalty: finite.positive(),
    seed: z.number().int(),
  }),
  stop: z.array(z.string().min(1)),
});

const cancel = z.object({ type: z.literal('cancel'), key });

const toEngine = z.discriminatedUnion('type', [load, generate, cancel]) satisfies z.ZodType<ToEngine>;

/** The engine's door: beyond it every message is what `ipc/messages.ts` says. Reasons quote no values. */
export function receive(raw: unknown): Received {
  const parsed = toEngine.safeParse(raw);
  if (parsed.success) return { kind: 'message', message: parsed.data };
  const [issue] = parsed.error.issues;
  const reason = `${issue?.path.join('.') || 'message'} is not valid (${issue?.code})`;
  const named = z.object({ type: z.literal('generate'), key }).safeParse(raw);
  return named.success
    ? { kind: 'invalid_generate', key: named.data.key, reason }
    : { kind: 'unknown', reason };
}
