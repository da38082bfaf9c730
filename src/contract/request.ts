import * as z from 'zod';
import type { ErrorCode } from './errors.ts';
import type { ResponseFormat } from './prompt.ts';
import { schemaBounds } from './schema/bounds.ts';
import { isObject } from './schema/json.ts';
import { readSchema } from './schema/read.ts';
import { idPattern } from './topics.ts';

/** Bounds of a request that do not depend on a device's configuration. */
export const requestBounds = {
  /** A chat longer than this is a program error, not a conversation. */
  messages_max: 64,
  /** Each stop text costs a comparison per token. */
  stop_max: 8,
  stop_chars_max: 64,
  /** OpenAI's bound. */
  schema_name_chars_max: 64,
  /** Metadata is echoed in the result, so it is paid for twice. */
  metadata_bytes_max: 1024,
  correlation_bytes_max: 256,
  /** A name, not a document: it is compared with those of all that wait. */
  user_chars_max: 128,
  /** W3C Trace Context: 55 characters today. It is echoed, so it must not outgrow the broker's packets. */
  traceparent_chars_max: 128,
  deadline_ms_max: 7 * 24 * 3600 * 1000,
} as const;

const message = z.strictObject({
  role: z.enum(['system', 'user', 'assistant']),
  content: z.string(),
});

/** Taken as it is: a copy of it would lack a member that is called `__proto__`. */
const anyObject = z.custom<Record<string, unknown>>(isObject, 'Invalid input: expected object');

const stopText = z.string().min(1).max(requestBounds.stop_chars_max);

/** OpenAI's names where they exist. `name`, `description` and `strict` change nothing: it is always strict. */
const responseFormat = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('text') }),
  z.strictObject({ type: z.literal('json_object') }),
  z.strictObject({
    type: z.literal('json_schema'),
    json_schema: z.strictObject({
      name: z.string().max(requestBounds.schema_name_chars_max).optional(),
      description: z.string().optional(),
      strict: z.boolean().nullable().optional(),
      schema: anyObject,
    }),
  }),
]);

/** The JSON form of a request (SLMD-REQ). Exactly one of `prompt` and `messages` is present. */
const requestSchema = z
  .strictObject({
    id: z.string().regex(idPattern, 'must match [A-Za-z0-9._:-]{1,128}').optional(),
    prompt: z.string().min(1).optional(),
    messages: z.array(message).min(1).max(requestBounds.messages_max).optional(),
    max_tokens: z.int().min(1).max(1_000_000).optional(),
    temperature: z.number().min(0).max(2).optional(),
    top_p: z.number().gt(0).max(1).optional(),
    top_k: z.int().min(0).max(1000).optional(),
    min_p: z.number().min(0).max(1).optional(),
    repetition_penalty: z.number().gt(0).max(2).optional(),
    seed: z.int().min(0).max(0xffff_ffff).optional(),
    stop: z.union([stopText, z.array(stopText).min(1).max(requestBounds.stop_max)]).optional(),
    stream: z.boolean().optional(),
    response_format: responseFormat.optional(),
    deadline_ms: z.int().min(1).max(requestBounds.deadline_ms_max).optional(),
    priority: z.enum(['low', 'normal', 'high']).optional(),
    user: z.string().min(1).max(requestBounds.user_chars_max).optional(),
    metadata: anyObject.optional(),
  })
  .refine((request) => (request.prompt === undefined) !== (request.messages === undefined), {
    error: 'exactly one of prompt and messages is required',
  })
  .refine((request) => jsonBytes(request.metadata) <= requestBounds.metadata_bytes_max, {
    error: `metadata is larger than ${requestBounds.metadata_bytes_max} bytes`,
    path: ['metadata'],
  });

export type WireRequest = z.infer<typeof requestSchema>;

export type Priority = NonNullable<WireRequest['priority']>;

/** `{"id": "…"}` on the cancel and ack topics. */
export const idMessageSchema = z.strictObject({ id: z.string().regex(idPattern) });

/** Reads a JSON request. A refusal names fields and paths, and never repeats a value. */
export function readRequest(json: unknown): { request: WireRequest } | { code: ErrorCode; message: string } {
  const read = requestSchema.safeParse(json);
  if (read.success) return { request: read.data };
  // An unknown field is named first: it is most often a misspelt known one.
  for (const issue of read.error.issues) {
    if (issue.code !== 'unrecognized_keys') continue;
    const names = issue.keys
      .slice(0, namesMax)
      .map((key) => [...issue.path, key].join('.').slice(0, nameCharsMax));
    return { code: 'unknown_field', message: oneLine(`unknown field: ${names.join(', ')}`) };
  }
  const issue = read.error.issues[0];
  const where = issue?.path.join('.') ?? '';
  return {
    code: 'invalid_request',
    message: `${where === '' ? '' : `${where}: `}${issue?.message ?? 'invalid'}`,
  };
}

/** A refusal must not be longer than a sentence, and is one line, whatever names it was sent. */
const namesMax = 5;
const nameCharsMax = 64;

/** What can be enforced of a `response_format`, or why it cannot be (SLMD-FMT). */
export function readResponseFormat(
  wire: WireRequest['response_format'],
): { format: ResponseFormat | null } | { code: ErrorCode; message: string } {
  if (wire === undefined || wire.type === 'text') return { format: null };
  if (wire.type === 'json_object') return { format: { type: 'json_object' } };
  const { schema } = wire.json_schema;
  const refuse = (path: string, reason: string) => ({
    code: 'schema_unsupported' as const,
    message: oneLine(`${path.slice(0, pathCharsMax)}: ${reason}`),
  });
  if (jsonBytes(schema) > schemaBounds.bytes_max)
    return refuse('#', `the schema is larger than ${schemaBounds.bytes_max} bytes`);
  const read = readSchema(schema);
  return 'root' in read ? { format: { type: 'json_schema', schema } } : refuse(read.path, read.reason);
}

const pathCharsMax = 256;

/** Names come from whoever sent them, and messages go to terminals. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, '\ufffd');
}

/** `JSON.parse` reads nesting of any depth, `JSON.stringify` throws where it is too deep to be echoed. */
function jsonBytes(value: unknown): number {
  if (value === undefined) return 0;
  try {
    return Buffer.byteLength(JSON.stringify(value));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
