import type { Feedback } from './feedback.ts';
import { momentColumns } from './input-moments.ts';

export type QuantizedBits = 4 | 8;

/** How a quantized matrix is laid out, for MatMulNBits and GatherBlockQuantized alike. */
export interface BlockFormat {
  bits: QuantizedBits;
  /** Weights along a row that share one scale. */
  blockSize: number;
  /** How scales are found; see `quantizeRows`. */
  scales: ScaleSearch;
}

/** `nearest` maps the extreme weight of a block to the last level; `search` looks for the smallest error. */
export type ScaleSearch = 'nearest' | 'search';

/** Blocks in a row; the last is filled up with zeros when the columns do not divide. */
export function blocksPerRow(columns: number, { blockSize }: Pick<BlockFormat, 'blockSize'>): number {
  return Math.ceil(columns / blockSize);
}

/** Bytes of one row's quantized weights. */
export function rowBytes(columns: number, format: BlockFormat): number {
  return (blocksPerRow(columns, format) * format.blockSize * format.bits) / 8;
}

/**
 * Quantizes whole rows, each block by itself: w ≈ scale × (stored − zero point), round to nearest.
 *
 * The zero point is 8 or 128, the operators' default for unsigned weights, so the levels run from −8
 * to 7 (−128 to 127). See `bestScale` and `plainScale` for how a block's scale is found.
 *
 * @param weights [rows, columns]
 * @param data [rows, blocks, block size × bits / 8]; at 4 bits the even column is the low nibble
 * @param scales [rows, blocks]
 * @param feedback makes the errors of columns good in those after them; `weights` are changed on the way
 */
export function quantizeRows(
  weights: Float32Array,
  columns: number,
  format: BlockFormat,
  data: Uint8Array,
  scales: Float32Array,
  feedback: Feedback | null = null,
): void {
  const blocks = blocksPerRow(columns, format);
  const blockBytes = (format.blockSize * format.bits) / 8;
  const rows = weights.length / columns;
  const pack = format.bits === 4 ? packNibbles : packBytes;
  const scaleOf = format.scales === 'nearest' ? plainScale : bestScale;
  for (let row = 0, block = 0; row < rows; row++) {
    const end = (row + 1) * columns;
    for (let i = 0; i < blocks; i++, block++) {
      const begin = row * columns + i * format.blockSize;
      const size = Math.min(format.blockSize, end - begin);
      const scale = scaleOf(weights, begin, size, 2 ** (format.bits - 1));
      scales[block] = scale;
      if (feedback !== null) {
        const column = i * format.blockSize;
        spreadErrors(weights, { begin, size, end, column }, scale, 2 ** (format.bits - 1), feedback);
      }
      pack(weights, begin, size, scale, data, block * blockBytes, blockBytes);
    }
  }
}

/** The extreme weight takes the lowest level; 0 when all weights are zero, or too small for a float32 scale. */
function plainScale(weights: Float32Array, begin: number, size: number, levels: number): number {
  // Adding zero makes a negative zero a positive one.
  return Math.fround(extremeOf(weights, begin, size) / -levels) + 0;
}

/**
 * Where the extreme weight is put, as a part of the last level; above 1 it is cut off. Few are enough, as
 * each is refined by least squares, and with 256 levels there is nothing to be won by cutting.
 */
const reaches: Record<number, readonly number[]> = {
  8: [1, 0.98, 0.93, 1.03, 0.88, 1.08, 1.15, 1.25],
  128: [1, 0.98],
};

/**
 * The scale with the smallest sum of squared errors that was found; 0 as in `plainScale`.
 *
 * A scale decides what the weights are rounded to, and what they are rounded to decides which scale fits
 * best: Σ w·q ÷ Σ q². So a few scales are tried, of both signs because there is one more level below zero
 * than above, and of each only the levels are taken. Cutting the extreme off pays where it stands alone.
 */
function bestScale(weights: Float32Array, begin: number, size: number, levels: number): number {
  const extreme = extremeOf(weights, begin, size);
  const plain = Math.fround(extreme / -levels);
  if (plain === 0) return 0;
  let best = plain;
  // What the best scale explains of Σ w²: the rest is its error.
  let explained = 0;
  for (const reach of reaches[levels]!) {
    for (const inverse of [(-levels * reach) / extreme, (levels * reach) / extreme]) {
      let products = 0;
      let squares = 0;
      for (let i = begin; i < begin + size; i++) {
        const weight = weights[i]!;
        const rounded = level(weight * inverse, levels);
        products += weight * rounded;
        squares += rounded * rounded;
      }
      if (products * products <= explained * squares) continue;
      explained = (products * products) / squares;
      best = products / squares;
    }
  }
  return Math.fround(best);
}

function extremeOf(weights: Float32Array, begin: number, size: number): number {
  let extreme = 0;
  for (let i = begin; i < begin + size; i++) {
    if (Math.abs(weights[i]!) > Math.abs(extreme)) extreme = weights[i]!;
  }
  return extreme;
}

/** The nearest level; halves go up. */
function level(value: number, levels: number): number {
  // Cutting off is rounding down above zero, and three times as fast as Math.floor.
  const stored = (value + levels + 0.5) | 0;
  if (stored < 0) return -levels;
  return stored > 2 * levels - 1 ? levels - 1 : stored - levels;
}

/** A block's weights, and the end of its row; `column` is the place of its first weight in the row. */
interface Place {
  begin: number;
  size: number;
  end: number;
  column: number;
}

/** Rounds a block in mind, column by column, and lets the later columns of its group make each error good. */
function spreadErrors(
  weights: Float32Array,
  { begin, size, end, column }: Place,
  scale: number,
  levels: number,
  feedback: Feedback,
): void {
  const inverse = scale === 0 ? 0 : 1 / scale;
  const first = column % momentColumns;
  const groupBegin = begin - first;
  const count = Math.min(momentColumns, end - groupBegin);
  for (let i = 0; i < size; i++) {
    const weight = weights[begin + i]!;
    const error = weight - level(weight * inverse, levels) * scale;
    if (error === 0) continue;
    const shares = (column + i) * momentColumns;
    for (let k = first + i + 1; k < count; k++) weights[groupBegin + k]! -= error * feedback[shares + k]!;
  }
}

function packNibbles(
  weights: Float32Array,
  begin: number,
  size: number,
  scale: number,
  data: Uint8Array,
  at: number,
  blockBytes: number,
): void {
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = 0; i < blockBytes; i++) {
    const low = 2 * i < size ? level(weights[begin + 2 * i]! * inverse, 8) + 8 : 8;
    const high = 2 * i + 1 < size ? level(weights[begin + 2 * i + 1]! * inverse, 8) + 8 : 8;
    data[at + i] = low | (high << 4);
  }
}

function packBytes(
  weights: Float32Array,
  begin: number,
  size: number,
  scale: number,
  data: Uint8Array,
  at: number,
  blockBytes: number,
): void {
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = 0; i < blockBytes; i++) {
    data[at + i] = i < size ? level(weights[begin + i]! * inverse, 128) + 128 : 128;
  }
}
