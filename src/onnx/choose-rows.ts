import type { DecoderRows, Sequence } from './decoder.ts';

/** Who said how many sequences are decoded at once. */
export type RowsChosenBy =
  | 'setting'
  /** The backend has one. */
  | 'backend'
  /** So has the graph: its cache grows by a copy with every token, or it takes no more than one row. */
  | 'graph'
  /** The KV cache of more would not fit into the memory that is free. */
  | 'memory'
  /** A row would not have the same logits, bit for bit, beside others as alone. */
  | 'rounding'
  /** What several bring over one, as measured at load. */
  | 'probe';

export interface RowChoice {
  rows: readonly Sequence[];
  rowsChosenBy: RowsChosenBy;
  /** Tokens of all rows together for each token of one row alone, in the same time; null where unmeasured. */
  rowsGain: number | null;
}

/** Beyond four, a step takes longer than it brings. */
export const rowsMax = 4;
/** Of the memory that is free: the rest is for whatever else the board does. */
const memoryShare = 0.5;
/** Less than this is not worth that answers which come together take longer each. */
const gainMin = 1.2;
/** What people who wait for the model to load do not notice; a slow board measures once. */
const measureMs = 150;

/** How many rows may be used up to their last token. */
export function rowsThatFit(bytesOfRow: number, availableBytes: number): number {
  return Math.max(1, Math.min(rowsMax, Math.floor((availableBytes * memoryShare) / bytesOfRow)));
}

/** Uses the rows that a person asked for; else all there are, or one where more do not help. */
export async function chooseRows(
  { rows, limit }: DecoderRows,
  wanted: 'auto' | number,
  clock = () => performance.now(),
): Promise<RowChoice> {
  const one = rows.slice(0, 1);
  if (wanted === 1) return { rows: one, rowsChosenBy: 'setting', rowsGain: null };
  if (rows.length === 1) return { rows: one, rowsChosenBy: limit, rowsGain: null };
  const { exact, gain } = await measureRows(rows, clock);
  if (!exact) return { rows: one, rowsChosenBy: 'rounding', rowsGain: gain };
  if (wanted !== 'auto') return { rows, rowsChosenBy: 'setting', rowsGain: gain };
  return { rows: gain < gainMin ? one : rows, rowsChosenBy: 'probe', rowsGain: gain };
}

/** Lets rows of different lengths go on alone and together, compares what they say and how long they take. */
async function measureRows(
  rows: readonly Sequence[],
  clock: () => number,
): Promise<{ exact: boolean; gain: number }> {
  for (const [i, row] of rows.entries()) await row.forward(prefix(i));
  let exact = true;
  let [aloneMs, togetherMs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  const started = clock();
  for (let round = 0; round === 0 || clock() - started < measureMs; round++) {
    const alone: Float32Array[] = [];
    for (const row of rows) {
      const before = clock();
      const [logits] = await step([row]);
      aloneMs = Math.min(aloneMs, clock() - before);
      alone.push(logits!);
    }
    for (let count = round === 0 ? 2 : rows.length; count <= rows.length; count++) {
      const before = clock();
      const together = await step(rows.slice(0, count));
      if (count === rows.length) togetherMs = Math.min(togetherMs, clock() - before);
      exact &&= together.every((logits, i) => same(logits, alone[i]!));
    }
  }
  for (const row of rows) row.reset();
  return { exact, gain: Math.round(((rows.length * aloneMs) / togetherMs) * 100) / 100 };
}

/** The next logits of each, which then forgets the token again. */
async function step(rows: readonly Sequence[]): Promise<Float32Array[]> {
  const logits = await Promise.all(rows.map((row) => row.forward([1])));
  for (const row of rows) row.rewind(row.length - 1);
  return logits.map((values) => values.slice());
}

/** Each row has a beginning, and a length, of its own. */
function prefix(row: number): number[] {
  return Array.from({ length: row + 1 }, (_, i) => (row + i) % 3);
}

function same(a: Float32Array, b: Float32Array): boolean {
  return a.every((value, i) => Object.is(value, b[i]));
}
