/** How the engine has worked lately: means, as measured from its answers. */
export interface Pace {
  /** What an answer takes besides prefill and decode: the journal, the way to the engine, tokenizing. */
  overhead_ms: number;
  prefill_ms_per_byte: number;
  /** The largest payload among those answers: no larger one is taken to need more, for that was not measured. */
  bytes_max: number;
  decode_ms_per_token: number;
  completion_tokens: number;
  /** How far the estimate of one answer was off, root mean square; null before there was one to compare. */
  error_ms: number | null;
  /**
   * How many times longer than estimated nineteen of twenty answers took, from admission to end; at least 1.
   * In it is what the estimate cannot know: who comes later and goes first, and a board that slows down.
   */
  slip: number;
}

/** What is known of a request before it is tokenized. */
export interface Work {
  /** Of its payload. */
  bytes: number;
  max_tokens: number | null;
}

export interface Estimate {
  /** Until the answer is complete, most likely. */
  eta_ms: number;
  /** A deadline that is nearer than this is out of reach; null where that would be a guess. */
  needs_ms: number | null;
  /** The same if nobody else were here. */
  needs_alone_ms: number | null;
}

/** Nineteen sums of twenty are below their mean plus so many standard deviations. */
export const standardDeviations = 1.645;
/** Means are over some so many answers: see the pace meter. */
const answersBehindMeans = 16;

/** What one request will most likely take. */
export function workMs({ bytes, max_tokens }: Work, pace: Pace): number {
  const tokens = Math.min(max_tokens ?? Number.POSITIVE_INFINITY, pace.completion_tokens);
  return (
    pace.overhead_ms +
    Math.min(bytes, pace.bytes_max) * pace.prefill_ms_per_byte +
    Math.max(0, tokens - 1) * pace.decode_ms_per_token
  );
}

/**
 * When an answer will be complete, given those that go first, how long each has run, and how many have a
 * turn at a time.
 *
 * Behind others a request that will probably be late takes their turn for nothing: it needs what nineteen
 * of twenty would. Alone it harms nobody by trying: it needs what one of twenty would.
 *
 * Answers differ from their mean each in its own way, and these differences mostly cancel out. That the
 * mean itself is a little off is the same for all that go first, and adds up: a device that is offered far
 * more than it can do would otherwise admit most just when it believes itself quicker than it is.
 */
export function estimate(
  own: Work,
  ahead: { work: Work; running_ms: number }[],
  pace: Pace,
  turns: number,
): Estimate {
  const freeAt = new Array<number>(turns).fill(0);
  // Whoever goes first takes the turn that is free soonest.
  for (const { work, running_ms } of ahead)
    freeAt[freeAt.indexOf(Math.min(...freeAt))]! += Math.max(0, workMs(work, pace) - running_ms);
  const alone = workMs(own, pace);
  const eta_ms = Math.min(...freeAt) + alone;
  if (pace.error_ms === null) return { eta_ms, needs_ms: null, needs_alone_ms: null };
  const margin = standardDeviations * pace.error_ms;
  const needs_alone_ms = alone - margin;
  const late = eta_ms + margin * deviationOfSum(Math.floor(ahead.length / turns) + 1);
  return {
    eta_ms,
    needs_ms: ahead.length === 0 ? needs_alone_ms : Math.max(late, eta_ms * pace.slip),
    needs_alone_ms,
  };
}

/** How far a sum of so many answers is off, in standard deviations of one. */
function deviationOfSum(answers: number): number {
  return Math.sqrt(answers + answers ** 2 / answersBehindMeans);
}
