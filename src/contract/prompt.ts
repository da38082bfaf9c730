import type { WireError } from './errors.ts';
import type { Priority } from './request.ts';

export interface ChatMessage {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

export interface SamplingOptions {
  /** 0 is greedy: the most probable token, ties to the lowest id. */
  temperature: number;
  /** Keep the k most probable tokens; 0 keeps all. */
  top_k: number;
  /** Keep the smallest set whose probability reaches p, in (0, 1]. */
  top_p: number;
  /** Keep tokens with at least this fraction of the best one's probability, in [0, 1]. */
  min_p: number;
  /** Divide positive and multiply negative logits of tokens seen so far; 1 changes nothing. */
  repetition_penalty: number;
  /** Same seed, same model, same machine type: same text. */
  seed: number;
}

/** What the answer must be; a request that says nothing, or `text`, has none. */
export type ResponseFormat = { type: 'json_object' } | { type: 'json_schema'; schema: unknown };

/** Where a copy of the result goes besides the result topic (MQTT 5 Response Topic). */
export interface ReplyTo {
  topic: string;
  /** Echoed byte for byte. */
  correlation: Buffer | null;
}

/** A request as it is inside the daemon: every default filled in, every bound checked. */
export interface PromptRequest {
  id: string;
  messages: ChatMessage[];
  max_tokens: number | null;
  sampling: SamplingOptions;
  stop: string[];
  response_format: ResponseFormat | null;
  stream: boolean;
  priority: Priority;
  /** Who asks, as far as MQTT lets a device know: requesters of one priority take turns. */
  requester: string;
  metadata: Record<string, unknown> | null;
  /** `monotonicMs()` at receipt. */
  received_at: number;
  /** `monotonicMs()` after which nobody wants the answer, or null. */
  deadline_at: number | null;
  reply_to: ReplyTo | null;
  traceparent: string | null;
  /** What this request costs the queue's byte bound. */
  bytes: number;
}

/** A prompt that was turned down before any work, with all that its result needs. */
export interface Refusal {
  id: string;
  error: WireError;
  metadata: Record<string, unknown> | null;
  reply_to: ReplyTo | null;
  traceparent: string | null;
}
