import { type ExternalRange, GraphBuilder } from '../onnx/graph.ts';
import type { Architecture } from './architecture.ts';
import type { Checkpoint } from './checkpoint.ts';
import { buildDecoder, type DecoderOptions } from './decoder.ts';
import type { MatrixPart, StoredMatrix, WeightFormat, WeightStore } from './weights.ts';

/**
 * Checks every tensor that the decoder will read, before any work is done: a graph is written as it will
 * be, from weights that are only looked up.
 *
 * @returns parameters (elements) and their bytes in the checkpoint
 * @throws BuildError `checkpoint_invalid`, naming the tensor
 */
export async function surveyTensors(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: DecoderOptions,
): Promise<{ parameters: number; bytes: number }> {
  const looked = new LookedUpWeights(checkpoint);
  await buildDecoder(new GraphBuilder('survey'), looked, architecture, options);
  return looked;
}

const nowhere: ExternalRange = { location: 'survey', offset: 0, length: 0 };

class LookedUpWeights implements WeightStore {
  parameters = 0;
  bytes = 0;
  readonly #checkpoint: Checkpoint;
  readonly #seen = new Set<string>();

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint;
  }

  async vector(tensor: string, length: number): Promise<Float32Array> {
    this.#look(tensor, [length]);
    return new Float32Array(length);
  }

  async matrix(
    name: string,
    parts: readonly MatrixPart[],
    columns: number,
    format: WeightFormat,
  ): Promise<StoredMatrix> {
    for (const { tensor, rows, shape } of parts) this.#look(tensor, shape ?? [rows, columns]);
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    const stored = { name, rows, columns, data: nowhere };
    return format === 'float32' ? { ...stored, format } : { ...stored, format, scales: nowhere };
  }

  async table(): Promise<ExternalRange> {
    return nowhere;
  }

  #look(tensor: string, shape: readonly number[]): void {
    if (this.#seen.has(tensor)) return;
    this.#seen.add(tensor);
    this.bytes += this.#checkpoint.expect(tensor, shape);
    this.parameters += shape.reduce((product, size) => product * size, 1);
  }
}
