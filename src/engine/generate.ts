/** The story of one generation: render → tokenize → prefill in chunks → decode → stop → done. */

import type { Constraint } from '../grammar/constraint.ts';
import type { Grammars } from '../grammar/grammars.ts';
import type { DoneMessage, FinishReason, GenerateMessage, SamplingOptions, Stamps } from '../ipc/messages.ts';
import { monotonicMs } from '../lib/clock.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import type { ModelDirectory } from '../model/directory.ts';
import { encodeConversation } from '../model/prompt.ts';
import type { Sequence } from '../onnx/decoder.ts';
import { Answer } from './answer.ts';
import { Continuation } from './continuation.ts';
import { prefillRuns } from './prefill.ts';
import type { Rows } from './rows.ts';
import { Sampler } from './sampler.ts';
import type { Speculation } from './speculation.ts';

/** What a generation needs of a loaded model. */
export type GenerationModel = Pick<ModelDirectory, 'tokenizer' | 'template' | 'stopIds'> & {
  rows: Rows;
  prefillChunkTokens: number;
  /** For a request that names no `max_tokens`. */
  maxTokensDefault: number | null;
  /** What holds an answer to its response format. */
  grammars: Pick<Grammars, 'open'>;
  /** Null where no run gives more logits than its last token's. */
  speculation: Speculation | null;
};

export type GenerateRequest = Omit<GenerateMessage, 'type' | 'key'>;
export type Generation = Omit<DoneMessage, 'type' | 'key'>;

/** What happens on the way; both are called in order and may be left out. */
export interface GenerationEvents {
  onProgress?: (prefilledTokens: number, promptTokens: number) => void;
  /** Once for each token, also when its text still waits for more; the texts together are the answer. */
  onTokens?: (text: string, completionTokens: number) => void;
}

/**
 * Answers a request. Never more at a time than there are rows.
 *
 * `completion_tokens` counts every token that the model chose, the one that ended the answer included.
 *
 * @param signal ends the generation, a run under way included, with reason `cancelled`
 * @throws {SlmdError} `prompt_too_long`, `invalid_request`, `schema_unsupported`, or `engine_failed` when the model cannot be run
 */
export async function generate(
  model: GenerationModel,
  request: GenerateRequest,
  events: GenerationEvents,
  signal: AbortSignal,
): Promise<Generation> {
  const { tokenizer, template, rows, grammars } = model;
  const started_at = monotonicMs();
  const prompt = encodeConversation(request.messages, tokenizer, template);
  const maxTokens = completionTokensMax(prompt.length, request.max_tokens, model);
  const format = request.response_format;
  const constraint =
    format === null
      ? undefined
      : await grammars.open(format, () => events.onProgress?.(0, prompt.length), signal);
  const tokenized_at = monotonicMs();
  const answer = new Answer(tokenizer, request.stop);
  const row = rows.take(prompt);
  try {
    const cached_tokens = await row.enter(prompt);
    const { sequence } = row;
    const continuation = new Continuation(sequence, {
      prompt,
      tokensMax: prompt.length + maxTokens,
      encode: (text) => tokenizer.encodeWithin(text),
      speculation: isGreedy(request.sampling) ? model.speculation : null,
      alone: () => rows.busyCount === 1,
    });
    const run = { ...model, sequence, continuation, constraint, answer, maxTokens, events, signal };
    const logits = await prefill(run, prompt, cached_tokens);
    const decoded =
      logits === undefined
        ? cancelledBeforeFirstToken()
        : await decode(run, new Sampler(request.sampling, prompt), logits);
    row.leave(prompt);
    const { completion_tokens, finish_reason, format_complete, first_token_at, last_token_at } = decoded;
    return {
      text: answer.text,
      format_complete,
      finish_reason,
      usage: {
        prompt_tokens: prompt.length,
        cached_tokens,
        completion_tokens,
        speculated_tokens: continuation.speculated,
        accepted_tokens: continuation.accepted,
        rerun_tokens: continuation.rerun,
      },
      stamps: { started_at, tokenized_at, first_token_at, last_token_at },
    };
  } catch (thrown) {
    row.clear();
    throw thrown;
  } finally {
    rows.giveBack(row);
    constraint?.close();
  }
}

/** A generation that has its row. */
type Run = GenerationModel & {
  sequence: Sequence;
  continuation: Continuation;
  constraint: Constraint | undefined;
  answer: Answer;
  maxTokens: number;
  events: GenerationEvents;
  signal: AbortSignal;
};

/** What was asked for must fit; what was not asked for is made to. */
function completionTokensMax(
  promptTokens: number,
  asked: number | null,
  { rows: { contextLength }, maxTokensDefault }: GenerationModel,
): number {
  const needed = promptTokens + (asked ?? 1);
  const left = contextLength - promptTokens;
  if (needed <= contextLength) return asked ?? Math.min(left, maxTokensDefault ?? left);
  throw new SlmdError(
    'prompt_too_long',
    `${promptTokens} prompt tokens and ${asked ?? 1} for the answer are more than the context of ${contextLength}`,
  );
}

/** Runs what is left of the prompt through the model; the last token's logits, or undefined when cancelled. */
async function prefill(
  { sequence, prefillChunkTokens, events, signal }: Run,
  prompt: readonly number[],
  cachedTokens: number,
): Promise<Float32Array | undefined> {
  let logits: Float32Array | undefined;
  for (const { start, end } of prefillRuns(cachedTokens, prompt.length, prefillChunkTokens)) {
    const ids = prompt.slice(start, end);
    logits = await unlessCancelled(() => sequence.forward(ids, signal), signal);
    if (logits === undefined) return undefined;
    events.onProgress?.(end, prompt.length);
  }
  return logits;
}

type Decoded = Pick<Stamps, 'first_token_at' | 'last_token_at'> & {
  completion_tokens: number;
  finish_reason: FinishReason;
  format_complete: boolean;
};

async function decode(
  { continuation, stopIds, constraint, answer, maxTokens, events, signal }: Run,
  sampler: Sampler,
  firstLogits: Float32Array,
): Promise<Decoded> {
  let logits: Float32Array | undefined = firstLogits;
  constraint?.mask(logits);
  let first_token_at = 0;
  for (let completion_tokens = 1; ; completion_tokens++) {
    const id = sampler.next(logits);
    const last_token_at = monotonicMs();
    if (completion_tokens === 1) first_token_at = last_token_at;
    const ended = stopIds.has(id);
    if (!ended) await constraint?.accept(id);
    const whole = ended || constraint?.complete === true;
    let text = ended ? '' : answer.push(id);
    let finish_reason: FinishReason | undefined;
    if (whole || answer.stopped) finish_reason = 'stop';
    else if (completion_tokens === maxTokens) finish_reason = 'length';
    if (finish_reason !== undefined) text += answer.end();
    events.onTokens?.(text, completion_tokens);
    if (finish_reason === undefined) {
      logits = await nextLogits(continuation, id, constraint, signal);
      if (logits !== undefined) continue;
      finish_reason = 'cancelled';
      const rest = answer.end();
      if (rest !== '') events.onTokens?.(rest, completion_tokens);
    }
    const format_complete = constraint !== undefined && whole && !answer.stopped;
    return { completion_tokens, finish_reason, format_complete, first_token_at, last_token_at };
  }
}

/** The logits of what may come after this token; undefined when the generation was cancelled. */
async function nextLogits(
  continuation: Continuation,
  id: number,
  constraint: Constraint | undefined,
  signal: AbortSignal,
): Promise<Float32Array | undefined> {
  const logits = await unlessCancelled(() => continuation.next(id, signal, constraint?.foretold), signal);
  if (logits === undefined) return undefined;
  constraint?.mask(logits);
  const doubt = continuation.doubt(logits);
  if (doubt === null) return logits;
  const exact = await unlessCancelled(() => continuation.again(signal), signal);
  if (exact === undefined) return undefined;
  constraint?.mask(exact);
  continuation.settle(doubt, exact);
  return exact;
}

/** What runs give; undefined when the generation was cancelled, a run under way included. */
async function unlessCancelled(
  work: () => Promise<Float32Array>,
  signal: AbortSignal,
): Promise<Float32Array | undefined> {
  if (signal.aborted) return undefined;
  try {
    const logits = await work();
    // A cancel may come when the run is over and before its end has reached us.
    return signal.aborted ? undefined : logits;
  } catch (thrown) {
    if (signal.aborted) return undefined;
    throw new SlmdError('engine_failed', `the model could not be run: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

/** Whether the tokens follow from the logits as they are, and from nothing else. */
function isGreedy({ temperature, repetition_penalty }: SamplingOptions): boolean {
  return temperature === 0 && repetition_penalty === 1;
}

function cancelledBeforeFirstToken(): Decoded {
  const now = monotonicMs();
  return {
    completion_tokens: 0,
    finish_reason: 'cancelled',
    format_complete: false,
    first_token_at: now,
    last_token_at: now,
  };
}
