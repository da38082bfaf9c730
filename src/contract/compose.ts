import { type ErrorCode, type WireError, wireError } from './errors.ts';
import type { PromptRequest, Refusal } from './prompt.ts';
import { type BoardSnapshot, type RequestStamps, type Result, timingsOf, type Usage } from './result.ts';

/** What of a result comes from the device and not from the request. */
export interface Origin {
  device: string;
  model: string | null;
  board: BoardSnapshot;
}

/** What an engine brings back from a generation, whole or cut short. */
export interface Generated {
  text: string;
  /** Whether the text is all that the request's `response_format` asked for. */
  format_complete: boolean;
  finish_reason: 'stop' | 'length' | 'cancelled';
  usage: Usage;
  stamps: Omit<RequestStamps, 'received_at'>;
}

/** Why a request ended before its answer was complete. */
export type EarlyEnd = 'cancelled' | 'expired';

const earlyMessages: Record<EarlyEnd, string> = {
  cancelled: 'cancelled by the requester',
  expired: 'the deadline passed before the answer was complete',
};

/**
 * The result of a generation that ran; `early` says why it was cut short, if it was. An engine is another
 * process: what it says of its own text is looked at.
 */
export function answered(
  request: PromptRequest,
  generated: Generated,
  attempt: number,
  early: EarlyEnd | null,
  origin: Origin,
): Result {
  const wanted = request.response_format !== null;
  const json = wanted && generated.format_complete ? jsonOf(generated.text) : null;
  if (json === notJson)
    return failed(
      request,
      'engine_failed',
      'the engine called an answer whole that is no JSON',
      attempt,
      origin,
    );
  return {
    id: request.id,
    device: origin.device,
    model: origin.model,
    status: early ?? 'ok',
    text: generated.text,
    ...(wanted ? { json } : {}),
    finish_reason: generated.finish_reason,
    ...(early === null ? {} : { error: wireError(early, earlyMessages[early]) }),
    usage: generated.usage,
    timings: timingsOf({ received_at: request.received_at, ...generated.stamps }, generated.usage),
    board: origin.board,
    attempt,
    metadata: request.metadata,
  };
}

/** `JSON.stringify` recurses where `JSON.parse` does not: what nests too deep can be read and not written. */
function jsonOf(text: string): unknown {
  let depth = 0;
  let deepest = 0;
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[[{]|[\]}]/g)) {
    if (token === '[' || token === '{') deepest = Math.max(deepest, ++depth);
    else if (token === ']' || token === '}') depth--;
  }
  if (deepest > jsonDepthMax) return null;
  try {
    return JSON.parse(text);
  } catch {
    return notJson;
  }
}

const jsonDepthMax = 256;
const notJson = Symbol('not JSON');

/** The result of a request that ended while it waited, for its turn or for another attempt. */
export function endedWaiting(
  request: PromptRequest,
  early: EarlyEnd,
  attempt: number,
  origin: Origin,
): Result {
  return withoutWork(request, wireError(early, earlyMessages[early]), early, attempt, origin);
}

/** The result of a request whose work failed. */
export function failed(
  request: PromptRequest,
  code: ErrorCode,
  message: string,
  attempt: number,
  origin: Origin,
): Result {
  return withoutWork(request, wireError(code, message), 'error', attempt, origin);
}

/**
 * The result of a request that is not tried again, because the device ended so often while it was.
 *
 * @param memoryRanOut whether the last time was one when memory ran out
 */
export function givenUp(
  request: PromptRequest,
  attempts: number,
  memoryRanOut: boolean,
  origin: Origin,
): Result {
  const ended = `the device ended ${attempts} times while it worked on this prompt`;
  return memoryRanOut
    ? failed(request, 'out_of_memory', `${ended}, at last for want of memory`, attempts, origin)
    : failed(request, 'engine_crashed', ended, attempts, origin);
}

/** The result of a prompt that was turned down before any work. */
export function refused(refusal: Refusal, origin: Origin): Result {
  return withoutWork(refusal, refusal.error, 'rejected', 0, origin);
}

/**
 * What is said instead of a result that does not fit into the broker's packets.
 *
 * @param bytesMax what the broker takes, null where it does not say
 */
export function tooLarge(result: Result, bytes: number, bytesMax: number | null): Result {
  const error = wireError(
    'result_too_large',
    bytesMax === null
      ? `the broker ends the connection at a result of ${bytes} bytes`
      : `the result has ${bytes} bytes; the broker takes ${bytesMax}`,
  );
  const { json: _json, ...rest } = result;
  const instead = { ...rest, status: 'error' as const, text: '', finish_reason: null, error };
  const fits = Buffer.byteLength(JSON.stringify(instead)) <= (bytesMax ?? Number.POSITIVE_INFINITY);
  return fits ? instead : { ...instead, metadata: null };
}

function withoutWork(
  of: { id: string; metadata: Record<string, unknown> | null },
  error: WireError,
  status: Result['status'],
  attempt: number,
  origin: Origin,
): Result {
  return {
    id: of.id,
    device: origin.device,
    model: origin.model,
    status,
    text: '',
    finish_reason: null,
    error,
    usage: null,
    timings: null,
    board: origin.board,
    attempt,
    metadata: of.metadata,
  };
}
