/**
 * The closed list of error codes that leave the device, and what a requester may do about each.
 *
 * A code is a promise: it is never renamed, and a new one is a new clause in CONTRACT.md (SLMD-ERR).
 * `retryable` says whether the same request, sent again later and unchanged, may succeed.
 */
export const errorCodes = {
  invalid_request: {
    retryable: false,
    meaning: 'The request does not follow the contract; the message names the field.',
  },
  unknown_field: { retryable: false, meaning: 'The request has a field that the contract does not know.' },
  payload_too_large: { retryable: false, meaning: 'The payload is larger than limits.payload_bytes_max.' },
  prompt_too_long: { retryable: false, meaning: 'Prompt and max_tokens together exceed the context length.' },
  schema_unsupported: {
    retryable: false,
    meaning: 'This response_format cannot be enforced by this device.',
  },
  retained_request: {
    retryable: false,
    meaning: 'Prompts must not be retained: they would run again at every reconnect.',
  },
  response_topic_forbidden: { retryable: false, meaning: 'The Response Topic is outside the allow-list.' },
  queue_full: { retryable: true, meaning: 'The queue is at its bound; retry after retry_after_ms.' },
  draining: {
    retryable: true,
    meaning: 'The device is stopping, and the broker does not keep this prompt for its restart.',
  },
  deadline_unmeetable: {
    retryable: true,
    meaning: 'The answer would come after the deadline, by the measured pace of the device and what waits.',
  },
  expired: { retryable: false, meaning: 'The deadline passed before the answer was complete.' },
  cancelled: { retryable: false, meaning: 'The requester cancelled the prompt.' },
  model_not_ready: { retryable: true, meaning: 'The model is not loaded.' },
  engine_crashed: {
    retryable: true,
    meaning: 'The engine process, or the device, ended while it worked on this prompt.',
  },
  engine_stalled: {
    retryable: true,
    meaning: 'The engine made no progress for engine.stall_ms and was stopped.',
  },
  engine_failed: { retryable: false, meaning: 'The engine reported an error for this prompt and went on.' },
  out_of_memory: {
    retryable: true,
    meaning: 'The engine process, or the device, was ended for want of memory.',
  },
  result_too_large: {
    retryable: false,
    meaning: 'The result exceeds what the broker accepts in one packet.',
  },
  storage_full: { retryable: true, meaning: 'The journal cannot be written.' },
} as const satisfies Record<string, { retryable: boolean; meaning: string }>;

export type ErrorCode = keyof typeof errorCodes;

/** The `error` member of a result. `retry_after_ms` is present where waiting is known to help. */
export interface WireError {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
}

export function wireError(code: ErrorCode, message: string, retryAfterMs?: number): WireError {
  const { retryable } = errorCodes[code];
  return {
    code,
    message,
    retryable,
    ...(retryAfterMs === undefined ? {} : { retry_after_ms: Math.ceil(retryAfterMs) }),
  };
}
