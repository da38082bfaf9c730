import type { Pace } from '../ipc/messages.ts';
import { monotonicMs } from '../lib/clock.ts';
import type { Sequence } from '../onnx/decoder.ts';
import { prefillGrain } from './prefill.ts';

/** A device must be ready soon, however slow its model is. */
const decodeBudgetMs = 150;
const prefillBudgetMs = 1000;
const stepsMax = 16;

/**
 * The pace of a model that has just been loaded, alone on its board and with a short context: what the
 * device says of itself before it has answered anything. Leaves the sequence empty.
 */
export async function measurePace(sequence: Sequence): Promise<Pace> {
  const steps: number[] = [];
  const begun = monotonicMs();
  for (let i = 0; i < stepsMax && monotonicMs() - begun < decodeBudgetMs && hasRoom(sequence, 1); i++)
    steps.push(await timed(() => sequence.forward([0])));
  const decodeMs = median(steps);
  // A token of a run costs less than one alone; where even so much would take long, it is not measured.
  const prefillMs =
    decodeMs * prefillGrain > prefillBudgetMs || !hasRoom(sequence, prefillGrain)
      ? null
      : await timed(() => sequence.forward(new Array<number>(prefillGrain).fill(0)));
  sequence.reset();
  return {
    prefill_tokens_per_second: prefillMs === null ? null : rate(prefillGrain, prefillMs),
    decode_tokens_per_second: rate(1, decodeMs),
  };
}

function hasRoom({ length, contextLength }: Sequence, tokens: number): boolean {
  return length + tokens <= contextLength;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = monotonicMs();
  await work();
  return monotonicMs() - start;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.POSITIVE_INFINITY;
}

function rate(tokens: number, ms: number): number {
  return Math.round((10_000 * tokens) / ms) / 10;
}
