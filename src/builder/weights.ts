import type { ExternalDataWriter } from '../onnx/external-data.ts';
import type { ExternalRange } from '../onnx/graph.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type Feedback, feedbackOf } from './feedback.ts';
import type { InputMoments } from './input-moments.ts';
import { type BlockFormat, blocksPerRow, quantizeRows, rowBytes } from './quantize.ts';
import { Scratch } from './scratch.ts';

/** How a matrix is kept: as float32, or in quantized blocks. */
export type WeightFormat = 'float32' | BlockFormat;

/** A matrix that lies in the external data, [rows, columns], as checkpoints keep it: [out, in]. */
export type StoredMatrix = { name: string; rows: number; columns: number; data: ExternalRange } & (
  | { format: 'float32' }
  | { format: BlockFormat; scales: ExternalRange }
);

/** Rows of one of the checkpoint's tensors, which are stored below those of other parts as one matrix. */
export interface MatrixPart {
  tensor: string;
  rows: number;
  /** The tensor's whole shape, where it has more than these rows: all but the last dimension are rows. */
  shape?: readonly number[];
  /** The first of the rows. */
  from?: number;
  /** What the weights are multiplied by; of quantized ones their scales are, so that no level depends on it. */
  times?: number;
}

/** Where a graph's weights come from, and where they go. */
export interface WeightStore {
  /** A small tensor, to be kept in the graph itself. */
  vector(tensor: string, length: number): Promise<Float32Array>;
  /** Stores parts of the same width as one matrix. */
  matrix(
    name: string,
    parts: readonly MatrixPart[],
    columns: number,
    format: WeightFormat,
  ): Promise<StoredMatrix>;
  /** Stores values that were computed here. */
  table(values: Float32Array): Promise<ExternalRange>;
}

/** Moves matrices from a checkpoint into a model's external data, a slab of rows at a time. */
export class StreamedWeights implements WeightStore {
  readonly #checkpoint: Checkpoint;
  readonly #data: ExternalDataWriter;
  readonly #moments: ReadonlyMap<string, InputMoments>;
  readonly #quantized = new Scratch();
  readonly #scales = new Scratch();

  /**
   * @param checkpoint whose tensors have been checked: see `survey.ts`
   * @param moments of matrices' inputs, by their names, so that errors are made good; those without have none
   */
  constructor(
    checkpoint: Checkpoint,
    data: ExternalDataWriter,
    moments: ReadonlyMap<string, InputMoments> = new Map(),
  ) {
    this.#checkpoint = checkpoint;
    this.#data = data;
    this.#moments = moments;
  }

  vector(tensor: string, length: number): Promise<Float32Array> {
    return this.#checkpoint.vector(tensor, length);
  }

  async matrix(
    name: string,
    parts: readonly MatrixPart[],
    columns: number,
    format: WeightFormat,
  ): Promise<StoredMatrix> {
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    await this.#data.begin();
    if (format === 'float32') {
      for await (const { slab, times } of this.#slabs(parts, columns))
        await this.#data.write(bytesOf(multiplied(slab, times)));
      return { name, rows, columns, format, data: this.#data.end() };
    }
    const scales = this.#scales.floats(rows * blocksPerRow(columns, format));
    const moments = this.#moments.get(name);
    const feedback = moments === undefined ? null : feedbackOf(moments, columns);
    await this.#quantize(this.#slabs(parts, columns), columns, format, scales, feedback);
    const data = this.#data.end();
    return { name, rows, columns, format, data, scales: await this.table(scales) };
  }

  async table(values: Float32Array): Promise<ExternalRange> {
    await this.#data.begin();
    await this.#data.write(bytesOf(values));
    return this.#data.end();
  }

  /** Writes the quantized weights, and fills `scales` on the way. */
  async #quantize(
    slabs: AsyncIterable<Slab>,
    columns: number,
    format: BlockFormat,
    scales: Float32Array,
    feedback: Feedback | null,
  ): Promise<void> {
    const blocks = blocksPerRow(columns, format);
    let row = 0;
    for await (const { slab, times } of slabs) {
      const slabRows = slab.length / columns;
      const quantized = this.#quantized.bytes(slabRows * rowBytes(columns, format));
      const slabScales = scales.subarray(row * blocks, (row + slabRows) * blocks);
      quantizeRows(slab, columns, format, quantized, slabScales, feedback);
      multiplied(slabScales, times);
      await this.#data.write(quantized);
      row += slabRows;
    }
  }

  async *#slabs(parts: readonly MatrixPart[], columns: number): AsyncGenerator<Slab> {
    for (const { tensor, rows, from = 0, times = 1 } of parts)
      for await (const slab of this.#checkpoint.rows(tensor, from, rows, columns)) yield { slab, times };
  }
}

/** Rows of a part as the checkpoint has them, and what they are multiplied by. */
interface Slab {
  slab: Float32Array;
  times: number;
}

/** In place. */
function multiplied(values: Float32Array, times: number): Float32Array {
  if (times !== 1) for (let i = 0; i < values.length; i++) values[i]! *= times;
  return values;
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
