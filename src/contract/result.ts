import type { WireError } from './errors.ts';

export type ResultStatus = 'ok' | 'error' | 'cancelled' | 'expired' | 'rejected';

/**
 * Latency of one request, in milliseconds from the daemon's receipt of the prompt.
 *
 * queue + tokenize + prefill + decode = total. TTFT includes the queue. TPOT is the mean time per
 * output token after the first, null under two tokens.
 */
export interface Timings {
  queue_ms: number;
  tokenize_ms: number;
  prefill_ms: number;
  decode_ms: number;
  total_ms: number;
  ttft_ms: number;
  tpot_ms: number | null;
  prefill_tokens_per_second: number | null;
  decode_tokens_per_second: number | null;
}

export interface Usage {
  prompt_tokens: number;
  /** How many of them were already in the KV cache. */
  cached_tokens: number;
  completion_tokens: number;
  /** Tokens that were guessed from the text so far and run along (SLMD-RES-11). */
  speculated_tokens: number;
  /** How many of them the model chose. */
  accepted_tokens: number;
  /** Tokens that were run again, each alone, because rounding could have decided between two. */
  rerun_tokens: number;
}

/** What the board felt while it answered. Null where a board has no such sensor. */
export interface BoardSnapshot {
  soc_temp_c: number | null;
  throttled: string[];
  energy_j: number | null;
  energy_source: 'none' | 'pmic';
}

/** The one document that ends a request (SLMD-RES). Members are in this order on the wire. */
export interface Result {
  id: string;
  device: string;
  model: string | null;
  status: ResultStatus;
  /** The answer; what there was of it where it was cut short; empty where work never began. */
  text: string;
  /** Where a `response_format` asked for JSON: what the text says, null where it was cut short. */
  json?: unknown;
  finish_reason: 'stop' | 'length' | 'cancelled' | null;
  error?: WireError;
  usage: Usage | null;
  timings: Timings | null;
  board: BoardSnapshot;
  /** 0 where work never began. */
  attempt: number;
  metadata: Record<string, unknown> | null;
}

/** On the event topic: a sign of life between the prompt and its result (SLMD-EVT). */
export type RequestEvent =
  | { id: string; event: 'accepted'; position: number; eta_ms: number | null }
  | { id: string; event: 'started'; attempt: number };

/** On the token topic (SLMD-TOK). `seq` counts from 0 in each attempt. */
export interface TokenBatch {
  id: string;
  attempt: number;
  seq: number;
  text: string;
}

/** The engine's stamps and the daemon's, all of one monotonic clock, in milliseconds. */
export interface RequestStamps {
  received_at: number;
  started_at: number;
  tokenized_at: number;
  first_token_at: number;
  last_token_at: number;
}

export function timingsOf(stamps: RequestStamps, usage: Usage): Timings {
  const prefill = stamps.first_token_at - stamps.tokenized_at;
  const decode = stamps.last_token_at - stamps.first_token_at;
  const later = usage.completion_tokens - 1;
  return {
    queue_ms: rounded(stamps.started_at - stamps.received_at),
    tokenize_ms: rounded(stamps.tokenized_at - stamps.started_at),
    prefill_ms: rounded(prefill),
    decode_ms: rounded(decode),
    total_ms: rounded(stamps.last_token_at - stamps.received_at),
    ttft_ms: rounded(stamps.first_token_at - stamps.received_at),
    tpot_ms: later > 0 ? rounded(decode / later) : null,
    prefill_tokens_per_second: rate(usage.prompt_tokens - usage.cached_tokens, prefill),
    decode_tokens_per_second: rate(later, decode),
  };
}

/** Two decimals: 10 µs is finer than any clock on a board can promise. */
function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

function rate(tokens: number, ms: number): number | null {
  return tokens > 0 && ms > 0 ? Math.round((tokens / ms) * 10_000) / 10 : null;
}
