import { type ExternalRange, GraphBuilder } from '../onnx/graph.ts';
import type { Architecture } from './architecture.ts';
import type { Checkpoint } from './checkpoint.ts';
import { buildDecoder, type DecoderOptions } from './decoder.ts';
import { blocksPerRow, rowBytes } from './quantize.ts';
import type { MatrixPart, StoredMatrix, WeightFormat, WeightStore } from './weights.ts';

/**
 * Checks every tensor that the decoder will read, before any work is done.
 *
 * @returns parameters (elements) and their bytes in the checkpoint
 * @throws BuildError `checkpoint_invalid`, naming the tensor
 */
export async function checkTensors(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: DecoderOptions,
): Promise<{ parameters: number; bytes: number }> {
  let parameters = 0;
  let bytes = 0;
  for (const [tensor, shape] of await tensorsOf(architecture, options)) {
    bytes += checkpoint.expect(tensor, shape);
    parameters += shape.reduce((product, size) => product * size, 1);
  }
  return { parameters, bytes };
}

/**
 * The tensors of a decoder by the names that checkpoints give them, with their shapes: those for which the
 * graph's writer asks when it writes to nowhere.
 */
export async function tensorsOf(
  architecture: Architecture,
  options: DecoderOptions,
): Promise<Map<string, readonly number[]>> {
  const wanted = new WantedWeights();
  await buildDecoder(new GraphBuilder('survey'), wanted, architecture, options);
  return wanted.tensors;
}

/**
 * Bytes that a token reads of a decoder's matrices, as ONNX Runtime packs them: whole blocks of levels, and of
 * each block a scale and a sum in float32. That is what a token costs, and all of it where memory is slow.
 */
export async function packedBytes(architecture: Architecture, options: DecoderOptions): Promise<number> {
  const wanted = new WantedWeights();
  await buildDecoder(new GraphBuilder('survey'), wanted, architecture, options);
  const { mlp } = architecture;
  let bytes = 0;
  for (const [name, packed] of wanted.packed) {
    // Of an embedding by itself a token reads a row, and of experts those that it takes.
    if (name === 'embedding') continue;
    const share =
      mlp.kind === 'experts' && name.includes('.experts.') ? mlp.expertsPerToken / mlp.experts : 1;
    bytes += packed * share;
  }
  return bytes;
}

const nowhere: ExternalRange = { location: 'nowhere', offset: 0, length: 0 };

class WantedWeights implements WeightStore {
  readonly tensors = new Map<string, readonly number[]>();
  /** Bytes of matrices by their names. */
  readonly packed = new Map<string, number>();

  async vector(tensor: string, length: number): Promise<Float32Array> {
    this.tensors.set(tensor, [length]);
    return new Float32Array(length);
  }

  async matrix(
    name: string,
    parts: readonly MatrixPart[],
    columns: number,
    format: WeightFormat,
  ): Promise<StoredMatrix> {
    for (const { tensor, rows, shape } of parts) this.tensors.set(tensor, shape ?? [rows, columns]);
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    this.packed.set(name, rows * packedRowBytes(columns, format));
    const stored = { name, rows, columns, data: nowhere };
    return format === 'float32' ? { ...stored, format } : { ...stored, format, scales: nowhere };
  }

  async table(): Promise<ExternalRange> {
    return nowhere;
  }
}

function packedRowBytes(columns: number, format: WeightFormat): number {
  if (format === 'float32') return 4 * columns;
  return rowBytes(columns, format) + 8 * blocksPerRow(columns, format);
}
