import { monotonicMs } from '../lib/clock.ts';
import { eachMax, type Sequence } from '../onnx/decoder.ts';
import type { RunTraits } from './speculation.ts';

/** A device must be ready soon, however slow its model is: once round, and again while there is time. */
const budgetMs = 150;
const roundsMax = 16;
/** Tokens before those that are measured: attention without a past is no measure of anything. */
const pastTokens = 16;
/**
 * Of the spread of the logits: what activations do that are rounded to another int8, or a token that goes to another
 * expert, which need not happen while this is measured.
 */
const differenceMin = 1 / 16;

/** Of the runs of a round: each begins where the one before it has left the KV cache, as in an answer. */
const runLengths = Array.from({ length: eachMax - 1 }, (_, i) => eachMax - i);
const roundTokens = runLengths.reduce((sum, length) => sum + length, 0);

/**
 * Times runs of one to `eachMax` tokens, and compares the logits of those of several with those of their tokens
 * alone. Leaves the sequence empty.
 *
 * @returns null where the graph has no logits but the last, or the context no room
 */
export async function measureRuns(sequence: Sequence): Promise<RunTraits | null> {
  const { forwardEach, contextLength, vocabularySize } = sequence;
  if (forwardEach === undefined || contextLength < pastTokens + roundTokens) return null;
  await sequence.forward(tokens(0, pastTokens, vocabularySize));
  const fastest = new Array<number>(eachMax).fill(Number.POSITIVE_INFINITY);
  const timed = async (count: number, run: () => Promise<Float32Array>) => {
    const started = monotonicMs();
    const logits = await run();
    fastest[count - 1] = Math.min(fastest[count - 1]!, monotonicMs() - started);
    return logits;
  };
  let difference = 0;
  const begun = monotonicMs();
  for (let round = 1; round === 1 || (round <= roundsMax && monotonicMs() - begun < budgetMs); round++) {
    const ids = tokens(round, roundTokens, vocabularySize);
    const alone: Float32Array[] = [];
    for (const id of ids) alone.push((await timed(1, () => sequence.forward([id]))).slice());
    sequence.rewind(pastTokens);
    let at = 0;
    for (const length of runLengths) {
      const each = await timed(length, () => forwardEach(ids.slice(at, at + length)));
      for (let i = 0; i < length; i++) {
        const logits = alone[at + i]!;
        const moved = largestDifference(each.subarray(i * vocabularySize), logits);
        difference = Math.max(difference, moved, differenceMin * spreadOf(logits));
      }
      at += length;
    }
    sequence.rewind(pastTokens);
  }
  sequence.reset();
  const [single, ...others] = fastest;
  return { costs: others.map((ms) => Math.round((100 * ms) / single!) / 100), difference };
}

/** Of all the vocabulary, and others in each round. */
function tokens(round: number, count: number, vocabularySize: number): number[] {
  return Array.from({ length: count }, (_, i) => ((round * 31 + i) * 7919 + 17) % vocabularySize);
}

/** Standard deviation. */
function spreadOf(values: Float32Array): number {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  return Math.sqrt(Math.max(0, squares / values.length - (sum / values.length) ** 2));
}

function largestDifference(values: Float32Array, reference: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < reference.length; i++)
    largest = Math.max(largest, Math.abs(values[i]! - reference[i]!));
  return largest;
}
