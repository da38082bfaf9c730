import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InferenceSession, OnnxValue, Tensor as TensorType } from 'onnxruntime-node';
import { type Manifest, manifestFile, manifestSchema } from '../../src/model/manifest.ts';

// The library reads this once, when it is loaded.
process.env.ORT_DISABLE_TELEMETRY = '1';
const { InferenceSession: Session, Tensor } = await import('onnxruntime-node');

const quiet = { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 4 } as const;

/** Loads any graph by its bytes. */
export function loadGraph(model: Uint8Array): Promise<InferenceSession> {
  return Session.create(model, quiet);
}

export function float32(values: Iterable<number>, dims: number[]): TensorType {
  return new Tensor('float32', Float32Array.from(values), dims);
}

export function int32(values: number[]): TensorType {
  return new Tensor('int32', Int32Array.from(values), [values.length]);
}

export function int64(values: number[], dims: number[]): TensorType {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), dims);
}

/** Keys and values of the tokens so far: what a run takes as `past`. */
export interface Cache {
  length: number;
  values: Map<string, OnnxValue>;
}

/** Runs a model directory's graph as `src/model/README.md` describes it, one sequence at a time. */
export class ModelRunner {
  readonly manifest: Manifest;
  readonly #session: InferenceSession;

  static async load(dir: string): Promise<ModelRunner> {
    const manifest = manifestSchema.parse(JSON.parse(readFileSync(join(dir, manifestFile), 'utf8')));
    return new ModelRunner(manifest, await Session.create(join(dir, 'model.onnx'), quiet));
  }

  private constructor(manifest: Manifest, session: InferenceSession) {
    this.manifest = manifest;
    this.#session = session;
  }

  emptyCache(batch = 1): Cache {
    const { layers, kv_heads, head_size } = this.manifest.geometry;
    const type = this.manifest.quantization.kv_cache ?? 'float32';
    const none = type === 'int8' ? new Int8Array() : new Float32Array();
    const values = new Map<string, OnnxValue>();
    for (let layer = 0; layer < layers; layer++) {
      for (const kind of ['key', 'value'])
        values.set(`${layer}.${kind}`, new Tensor(type, none, [batch, kv_heads, 0, head_size]));
    }
    return { length: 0, values };
  }

  /** @returns logits by position (one row, unless the graph gives all), and the cache that follows */
  async run(
    ids: number[],
    past: Cache = this.emptyCache(),
  ): Promise<{ logits: Float32Array[]; cache: Cache }> {
    const length = past.length + ids.length;
    const { logits, values } = await this.runBatch([ids], [length], past.values);
    return { logits: logits[0]!, cache: { length, values } };
  }

  /**
   * @param rows token ids, as many in each row
   * @param lengths tokens of each row with those before, without what fills it up
   */
  async runBatch(
    rows: number[][],
    lengths: number[],
    past: Map<string, OnnxValue> = this.emptyCache(rows.length).values,
  ): Promise<{ logits: Float32Array[][]; values: Map<string, OnnxValue> }> {
    const feeds: Record<string, OnnxValue> = {
      input_ids: int64(rows.flat(), [rows.length, rows[0]!.length]),
      seqlens_k: int32(lengths.map((length) => length - 1)),
      total_sequence_length: int32([Math.max(...lengths)]),
    };
    if (this.#session.inputNames.includes('num_logits_to_keep')) feeds.num_logits_to_keep = int64([1], [1]);
    for (const [key, value] of past) feeds[`past_key_values.${key}`] = value;
    const outputs = await this.#session.run(feeds);
    const values = new Map([...past.keys()].map((key) => [key, outputs[`present.${key}`]!]));
    const all = (outputs.logits as TensorType).data as Float32Array;
    const width = this.manifest.geometry.vocabulary_size;
    const perRow = all.length / width / rows.length;
    const logits = rows.map((_, row) =>
      Array.from({ length: perRow }, (_, i) =>
        all.slice((row * perRow + i) * width, (row * perRow + i + 1) * width),
      ),
    );
    return { logits, values };
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
}

/** The place of the largest value; the first of equals. */
export function argmax(values: Float32Array): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}

/** The largest difference; NaN anywhere is NaN. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return largest;
}

/** Root of the mean squared difference, in units of the reference's own root mean square. */
export function relativeError(values: ArrayLike<number>, reference: ArrayLike<number>): number {
  let error = 0;
  let size = 0;
  for (let i = 0; i < reference.length; i++) {
    error += (values[i]! - reference[i]!) ** 2;
    size += reference[i]! ** 2;
  }
  return Math.sqrt(error / size);
}
