/**
 * What the daemon and its engine process say to each other, and nothing else.
 *
 * Times ending in `_at` are `monotonicMs()` stamps (milliseconds, CLOCK_MONOTONIC), which both
 * processes share. `key` is the daemon's number for one attempt at one request: a late message of an
 * attempt that is over carries a key nobody waits for, and is dropped.
 */

import type { ChatMessage, ResponseFormat, SamplingOptions } from '../contract/prompt.ts';
import type { Usage } from '../contract/result.ts';
import type { ComputeInfo, ModelInfo, Pace } from '../contract/status.ts';

export type { ChatMessage, Pace, ResponseFormat, SamplingOptions };

/** daemon → engine */
export type ToEngine = LoadMessage | GenerateMessage | CancelMessage;

/** engine → daemon */
export type FromEngine =
  | ReadyMessage
  | LoadFailedMessage
  | ProgressMessage
  | TokensMessage
  | DoneMessage
  | FailedMessage;

/** The first message to an engine. It answers with `ready` or `load_failed`, once. */
export interface LoadMessage {
  type: 'load';
  /** Directory with `slmd-model.json`; see `src/model/`. */
  model_dir: string;
  options: EngineOptions;
  /** Whose signature the model must have. Null, or absent: nobody's. */
  trust?: Trust | null;
  /** Of several graphs of one model, that which keeps its weights so; absent: int4. */
  variant_kind?: VariantKind;
}

/** A model directory, whose signature it must have (null where nobody's is asked for), and which of its graphs is wanted. */
export interface ModelSource {
  dir: string;
  trust: Trust | null;
  variant_kind?: VariantKind;
}

/** How the weights of a model are kept. */
export type VariantKind = 'int4' | 'int8' | 'float32';

/** Who may have signed a model that is loaded. */
export interface Trust {
  /** Ed25519 public keys in PEM; any of them will do. */
  public_keys: string;
  /** Whether a model without a signature is refused, as one with a wrong signature always is. */
  required: boolean;
}

export interface EngineOptions {
  /** How ONNX Runtime is called; `auto` is `native` where that can be, else `node`. */
  backend: 'auto' | 'native' | 'node';
  /** Threads that ONNX Runtime computes with; 0 lets the engine choose. */
  threads: number;
  /** Generations at a time; `auto` as many as fit into the memory, where that is faster than one. */
  rows: 'auto' | number;
  /** Whether tokens may be guessed, where that pays. */
  speculation: boolean;
  /** Tokens per prefill run: the grain of progress. */
  prefill_chunk_tokens: number;
  /** Upper bound on prompt plus completion, in tokens; the model's own limit still applies. */
  context_length_max: number;
  /** Bound on the answer of a request that names none, in tokens; null for none but the context. */
  max_tokens_default: number | null;
  /** Where beginnings of prompts are kept for the next process, and how many bytes of them; null for nowhere. */
  prefixes: { dir: string; bytes_max: number } | null;
}

export interface GenerateMessage extends GenerateJob {
  type: 'generate';
  key: number;
}

/** What an answer is asked with. */
export interface GenerateJob {
  messages: ChatMessage[];
  /** Upper bound on the completion, in tokens. Null: the default bound, or what the context leaves. */
  max_tokens: number | null;
  sampling: SamplingOptions;
  /** Texts that end the answer; they are not part of it. */
  stop: string[];
  /** What the answer must be; null for any text. */
  response_format: ResponseFormat | null;
}

/** Ends a generation at the next operator of the graph that is running; it answers `done` with `cancelled`. */
export interface CancelMessage {
  type: 'cancel';
  key: number;
}

/** What an engine is, as it appears in the device's `info`. */
export interface EngineInfo {
  engine: ComputeInfo;
  model: ModelInfo;
  bench: Pace;
  load_ms: number;
}

export interface ReadyMessage {
  type: 'ready';
  info: EngineInfo;
}

export interface LoadFailedMessage {
  type: 'load_failed';
  code: string;
  message: string;
}

/** A sign of life during prefill, and before it while a schema is compiled; decoding shows it by `tokens`. */
export interface ProgressMessage {
  type: 'progress';
  key: number;
  prefilled_tokens: number;
  prompt_tokens: number;
}

/** Text that is final: no half character, nothing that may still become a stop sequence. */
export interface TokensMessage {
  type: 'tokens';
  key: number;
  text: string;
  completion_tokens: number;
}

export type FinishReason = 'stop' | 'length' | 'cancelled';

export interface DoneMessage {
  type: 'done';
  key: number;
  text: string;
  /** Whether the text is all that the response format asked for; false where there is none. */
  format_complete: boolean;
  finish_reason: FinishReason;
  usage: Usage;
  stamps: Stamps;
}

/**
 * When each phase of a generation began and ended, in `monotonicMs()`.
 *
 * tokenize = tokenized − started, prefill = first_token − tokenized, decode = last_token − first_token.
 * A generation that ended before its first token has both token stamps at its end.
 */
export interface Stamps {
  started_at: number;
  tokenized_at: number;
  first_token_at: number;
  last_token_at: number;
}

/** The generation ended without a result; the engine is ready for the next. */
export interface FailedMessage {
  type: 'failed';
  key: number;
  code: 'prompt_too_long' | 'invalid_request' | 'schema_unsupported' | 'engine_failed';
  message: string;
}
