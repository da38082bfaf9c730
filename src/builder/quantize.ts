export type QuantizedBits = 4 | 8;

/** How a quantized matrix is laid out, for MatMulNBits and GatherBlockQuantized alike. */
export interface BlockFormat {
  bits: QuantizedBits;
  /** Weights along a row that share one scale. */
  blockSize: number;
}

/** Blocks in a row; the last is filled up with zeros when the columns do not divide. */
export function blocksPerRow(columns: number, { blockSize }: BlockFormat): number {
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
 * to 7 (−128 to 127). Two scales are tried per block, and the one with the smaller sum of squared
 * errors is kept: the extreme weight at −8, which uses all sixteen levels (the scale is negative when
 * the extreme is positive), or at ±7, which treats both signs alike. Ties keep the first.
 *
 * @param weights [rows, columns]
 * @param data [rows, blocks, block size × bits / 8]; at 4 bits the even column is the low nibble
 * @param scales [rows, blocks]
 */
export function quantizeRows(
  weights: Float32Array,
  columns: number,
  format: BlockFormat,
  data: Uint8Array,
  scales: Float32Array,
): void {
  const blocks = blocksPerRow(columns, format);
  const blockBytes = (format.blockSize * format.bits) / 8;
  const rows = weights.length / columns;
  const pack = format.bits === 4 ? packNibbles : packBytes;
  for (let row = 0, block = 0; row < rows; row++) {
    const end = (row + 1) * columns;
    for (let i = 0; i < blocks; i++, block++) {
      const begin = row * columns + i * format.blockSize;
      const size = Math.min(format.blockSize, end - begin);
      const scale = bestScale(weights, begin, size, format.bits);
      scales[block] = scale;
      pack(weights, begin, size, scale, data, block * blockBytes, blockBytes);
    }
  }
}

/** The scale of one block; 0 when all weights are zero, or too small for a float32 scale. */
function bestScale(weights: Float32Array, begin: number, size: number, bits: QuantizedBits): number {
  let extreme = 0;
  for (let i = begin; i < begin + size; i++) {
    if (Math.abs(weights[i]!) > Math.abs(extreme)) extreme = weights[i]!;
  }
  const levels = 2 ** (bits - 1);
  const full = Math.fround(extreme / -levels);
  const even = Math.fround(Math.abs(extreme) / (levels - 1));
  if (full === 0) return 0;
  const fullError = squaredError(weights, begin, size, full, levels);
  return squaredError(weights, begin, size, even, levels) < fullError ? even : full;
}

function squaredError(
  weights: Float32Array,
  begin: number,
  size: number,
  scale: number,
  levels: number,
): number {
  const inverse = 1 / scale;
  let sum = 0;
  for (let i = begin; i < begin + size; i++) {
    const weight = weights[i]!;
    const error = weight - scale * level(weight * inverse, levels);
    sum += error * error;
  }
  return sum;
}

/** The nearest level; halves go up, and only the top can be out of range. */
function level(value: number, levels: number): number {
  return Math.min(Math.floor(value + 0.5), levels - 1);
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
