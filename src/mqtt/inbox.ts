import { createHash, randomUUID } from 'node:crypto';
import { type ErrorCode, wireError } from '../contract/errors.ts';
import type { PromptRequest, Refusal, ReplyTo, SamplingOptions } from '../contract/prompt.ts';
import {
  idMessageSchema,
  readRequest,
  readResponseFormat,
  requestBounds,
  type WireRequest,
} from '../contract/request.ts';
import { idPattern, isTopicName, type Topics, topicMatches } from '../contract/topics.ts';

/** A PUBLISH as it arrived, with the MQTT 5 properties that slmd reads (null in 3.1.1). */
export interface IncomingMessage {
  topic: string;
  payload: Buffer;
  retained: boolean;
  /** The broker keeps it for this device until it is acknowledged, also where the connection ends before that. */
  kept: boolean;
  /** `monotonicMs()` */
  received_at: number;
  response_topic: string | null;
  correlation: Buffer | null;
  /** Remaining Message Expiry Interval, in seconds. */
  expiry_s: number | null;
  traceparent: string | null;
}

export type Reading =
  | { kind: 'prompt'; request: PromptRequest }
  | { kind: 'refusal'; refusal: Refusal }
  | { kind: 'cancel'; id: string }
  | { kind: 'ack'; id: string }
  | { kind: 'ignored'; why: string };

export interface InboxOptions {
  topics: Topics;
  payload_bytes_max: number;
  /** Topic filters that a Response Topic may match. */
  response_topics: readonly string[];
  /** What a request that says nothing gets. */
  defaults: Omit<SamplingOptions, 'seed'> & {
    stream: boolean;
    deadline_ms: number | null;
    system_prompt: string | null;
  };
}

/**
 * Turns bytes from the broker into a request or a coded refusal. Pure but for the random id and seed
 * of a request that brings none; it never throws, whatever the bytes are.
 */
export function readMessage(message: IncomingMessage, options: InboxOptions): Reading {
  const { topics } = options;
  if (message.topic === topics.prompt) return readPrompt(message, options);
  if (message.topic === topics.cancel) return readIdMessage(message, 'cancel');
  if (message.topic === topics.ack) return readIdMessage(message, 'ack');
  return { kind: 'ignored', why: 'no such topic here' };
}

function readPrompt(message: IncomingMessage, options: InboxOptions): Reading {
  // Clearing a retained message is how a mistake is undone, not a request.
  if (message.retained && message.payload.length === 0)
    return { kind: 'ignored', why: 'a retained message was cleared' };
  const reply = readReplyTo(message, options.response_topics);
  const refuse = (code: ErrorCode, text: string, id = generatedId(message)): Reading => ({
    kind: 'refusal',
    refusal: {
      id,
      error: wireError(code, text),
      metadata: null,
      reply_to: reply.to,
      traceparent: traceparentOf(message),
    },
  });

  if (message.payload.length > options.payload_bytes_max)
    return refuse(
      'payload_too_large',
      `${message.payload.length} bytes; this device takes ${options.payload_bytes_max}`,
      idOfLarge(message.payload, options.payload_bytes_max) ?? undefined,
    );
  const text = utf8(message.payload);
  if (text === null) return refuse('invalid_request', 'the payload is not UTF-8');

  const parsed = parseRequest(text);
  if ('code' in parsed) return refuse(parsed.code, parsed.message, parsed.id);
  const wire = parsed.request;
  const id = wire.id ?? generatedId(message);
  if (message.retained) return refuse('retained_request', 'publish prompts without the retain flag', id);
  if (reply.error !== null) return refuse(...reply.error, id);
  const read = readResponseFormat(wire.response_format);
  if ('code' in read) return refuse(read.code, read.message, id);
  const request = completeRequest(wire, id, message, reply.to, options);
  return { kind: 'prompt', request: { ...request, response_format: read.format } };
}

function completeRequest(
  wire: WireRequest,
  id: string,
  message: IncomingMessage,
  replyTo: ReplyTo | null,
  { defaults }: InboxOptions,
): Omit<PromptRequest, 'response_format'> {
  const messages = wire.messages ?? [{ role: 'user' as const, content: wire.prompt ?? '' }];
  const needsSystem = defaults.system_prompt !== null && messages[0]?.role !== 'system';
  return {
    id,
    messages: needsSystem
      ? [{ role: 'system', content: defaults.system_prompt ?? '' }, ...messages]
      : messages,
    max_tokens: wire.max_tokens ?? null,
    sampling: {
      temperature: wire.temperature ?? defaults.temperature,
      top_k: wire.top_k ?? defaults.top_k,
      top_p: wire.top_p ?? defaults.top_p,
      min_p: wire.min_p ?? defaults.min_p,
      repetition_penalty: wire.repetition_penalty ?? defaults.repetition_penalty,
      seed: wire.seed ?? randomSeed(),
    },
    stop: wire.stop === undefined ? [] : [wire.stop].flat(),
    stream: wire.stream ?? defaults.stream,
    priority: wire.priority ?? 'normal',
    requester: requesterOf(wire.user, message.response_topic),
    metadata: wire.metadata ?? null,
    received_at: message.received_at,
    deadline_at: deadlineOf(message, wire.deadline_ms ?? defaults.deadline_ms),
    reply_to: replyTo,
    traceparent: traceparentOf(message),
    bytes: message.payload.length + replyBytes(replyTo),
  };
}

/** Text that starts with `{` is JSON; anything else is a bare prompt (SLMD-REQ-1). */
function parseRequest(
  text: string,
): { request: WireRequest } | { code: ErrorCode; message: string; id?: string } {
  if (text.trim() === '') return { code: 'invalid_request', message: 'the prompt is empty' };
  if (!text.trimStart().startsWith('{')) return { request: { prompt: text } };
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { code: 'invalid_request', message: 'the payload starts with { but is not valid JSON' };
  }
  const read = readRequest(json);
  const id = salvagedId(json);
  return 'request' in read || id === null ? read : { ...read, id };
}

/** A refused request still knows its own id, so that its requester hears of it. */
function salvagedId(json: unknown): string | null {
  const id = typeof json === 'object' && json !== null && 'id' in json ? json.id : null;
  return typeof id === 'string' && idPattern.test(id) ? id : null;
}

/** Reading what is far too large would cost the others more than it is worth to its requester. */
function idOfLarge(payload: Buffer, bytesMax: number): string | null {
  if (payload.length > 2 * bytesMax) return null;
  try {
    return salvagedId(JSON.parse(payload.toString()));
  } catch {
    return null;
  }
}

function readIdMessage(message: IncomingMessage, kind: 'cancel' | 'ack'): Reading {
  if (message.retained) return { kind: 'ignored', why: `a retained ${kind}` };
  const text = message.payload.length <= 1024 ? utf8(message.payload) : null;
  if (text === null) return { kind: 'ignored', why: `a ${kind} that is too long or not UTF-8` };
  try {
    const read = idMessageSchema.safeParse(JSON.parse(text));
    if (read.success) return { kind, id: read.data.id };
  } catch {
    // Not JSON: the same answer as JSON of another shape.
  }
  return { kind: 'ignored', why: `a ${kind} without a valid id` };
}

/** Without an allow-list a requester could write anywhere with the device's own rights. */
function readReplyTo(
  message: IncomingMessage,
  allowed: readonly string[],
): { to: ReplyTo | null; error: [ErrorCode, string] | null } {
  const { response_topic: topic, correlation } = message;
  if (topic === null) return { to: null, error: null };
  if (!isTopicName(topic) || !allowed.some((filter) => topicMatches(filter, topic)))
    return {
      to: null,
      error: ['response_topic_forbidden', 'the Response Topic is not in mqtt.response_topics of this device'],
    };
  if (correlation !== null && correlation.length > requestBounds.correlation_bytes_max)
    return {
      to: null,
      error: [
        'invalid_request',
        `Correlation Data is longer than ${requestBounds.correlation_bytes_max} bytes`,
      ],
    };
  return { to: { topic, correlation }, error: null };
}

/**
 * The id of a request that brings none. Correlation Data with a Response Topic names a request as
 * well as an id does, so its redelivery gets the same id; else the id is random.
 */
function generatedId(message: IncomingMessage): string {
  if (message.response_topic === null || message.correlation === null) return `r-${randomUUID()}`;
  const hash = createHash('sha256').update(message.response_topic).update('\0').update(message.correlation);
  return `c-${hash.digest('hex').slice(0, 32)}`;
}

/**
 * Who asks. A broker does not tell a subscriber who published: what is left is the name that a requester
 * gives itself, else the place that it wants its answer at; all others are one.
 */
function requesterOf(user: string | undefined, responseTopic: string | null): string {
  if (user !== undefined) return `user ${user}`;
  return responseTopic === null ? 'unknown' : `response ${responseTopic}`;
}

function traceparentOf({ traceparent }: IncomingMessage): string | null {
  return (traceparent?.length ?? 0) > requestBounds.traceparent_chars_max ? null : traceparent;
}

function deadlineOf(message: IncomingMessage, deadlineMs: number | null): number | null {
  const bounds = [deadlineMs, message.expiry_s === null ? null : message.expiry_s * 1000].filter(
    (ms) => ms !== null,
  );
  return bounds.length === 0 ? null : message.received_at + Math.min(...bounds);
}

/** A Response Topic may be as long as a prompt. */
function replyBytes(reply: ReplyTo | null): number {
  return reply === null ? 0 : Buffer.byteLength(reply.topic) + (reply.correlation?.length ?? 0);
}

function randomSeed(): number {
  return Math.floor(Math.random() * 0x1_0000_0000);
}

function utf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return null;
  }
}
