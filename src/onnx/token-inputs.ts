/** What graphs are told of the tokens: every input of this kind follows from them alone. */

/** What an input says: the new ones, where they are, or how many there are. */
export type Meaning = 'ids' | 'mask' | 'positions' | 'last' | 'total' | 'logitsKept';

export interface TokenInput {
  name: string;
  type: 'int32' | 'int64';
  meaning: Meaning;
  /** Dimensions: 0 for a number, 1 for one of each row, 2 for rows of tokens. */
  rank: number;
}

/** What a run appends to a row that has so many tokens; each row of a run gets as many. */
export interface NewTokens {
  past: number;
  ids: readonly number[];
}

/** A tensor of whole numbers, as the graph wants it. */
export interface Feed {
  name: string;
  type: TokenInput['type'];
  data: Int32Array | BigInt64Array;
  dims: readonly number[];
}

/** @param kept how many of the last tokens are to have logits, where the graph asks */
export function feedOf(
  { name, type, meaning, rank }: TokenInput,
  rows: readonly NewTokens[],
  kept: number,
): Feed {
  if (meaning === 'mask') return { name, type, ...maskOf(type, rows) };
  const values = valuesOf(meaning, rows, kept);
  const dims = rank === 0 ? [] : rank === 1 ? [values.length] : [rows.length, values.length / rows.length];
  const data = type === 'int64' ? BigInt64Array.from(values, BigInt) : Int32Array.from(values);
  return { name, type, data, dims };
}

function valuesOf(
  meaning: Exclude<Meaning, 'mask'>,
  rows: readonly NewTokens[],
  kept: number,
): readonly number[] {
  switch (meaning) {
    case 'ids':
      return rows.flatMap(({ ids }) => ids);
    case 'positions':
      return rows.flatMap(({ past, ids }) => ids.map((_, i) => past + i));
    case 'last':
      return rows.map((row) => totalOf(row) - 1);
    case 'total':
      return [longestOf(rows)];
    case 'logitsKept':
      return [kept];
  }
}

/** A one for each token, and zeros behind those of a row that is shorter than others. */
function maskOf(type: TokenInput['type'], rows: readonly NewTokens[]): Pick<Feed, 'data' | 'dims'> {
  const longest = longestOf(rows);
  const dims = [rows.length, longest];
  const data =
    type === 'int64' ? new BigInt64Array(rows.length * longest) : new Int32Array(rows.length * longest);
  for (const [i, row] of rows.entries()) {
    const [start, end] = [i * longest, i * longest + totalOf(row)];
    if (data instanceof BigInt64Array) data.fill(1n, start, end);
    else data.fill(1, start, end);
  }
  return { data, dims };
}

function totalOf({ past, ids }: NewTokens): number {
  return past + ids.length;
}

function longestOf(rows: readonly NewTokens[]): number {
  return Math.max(...rows.map(totalOf));
}
