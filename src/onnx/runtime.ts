/** The door to ONNX Runtime: no other file loads it or names its types. */

import { createRequire } from 'node:module';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Decoder } from './decoder.ts';
import { chooseThreads } from './threads.ts';

type Runtime = typeof import('onnxruntime-node');
type TensorMap = Record<string, Tensor>;

export interface DecoderOptions {
  /** Threads to compute with; 0 chooses. */
  threads: number;
  contextLength: number;
}

export interface OpenedDecoder {
  decoder: Decoder;
  threads: number;
}

/**
 * Opens a graph with the interface that `src/model/README.md` describes.
 *
 * @throws whatever ONNX Runtime says of a graph it cannot run, or what the interface lacks
 */
export async function openDecoder(graphPath: string, options: DecoderOptions): Promise<OpenedDecoder> {
  const runtime = loadRuntime();
  const threads = options.threads === 0 ? chooseThreads() : options.threads;
  const session = await runtime.InferenceSession.create(graphPath, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: severityFatal,
    // The KV cache grows with every token: patterns for each length would be kept and never used again.
    enableMemPattern: false,
    // Spinning threads take the cores that the daemon and the kernel need: 2 to 2.5 times slower on a
    // board that does anything else, and no faster on an idle one.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  try {
    return { decoder: new GrowingDecoder(runtime, session, options.contextLength), threads };
  } catch (thrown) {
    await session.release();
    throw thrown;
  }
}

/** The package's name and version, as the device's `info` gives them. */
export function runtimeVersion(): { name: string; version: string } {
  return { name: 'onnxruntime', version: loadRuntime().env.versions.node ?? 'unknown' };
}

/** Errors reach us as exceptions; standard error is for the engine's own words. */
const severityFatal = 4;

let loaded: Runtime | undefined;

function loadRuntime(): Runtime {
  if (loaded !== undefined) return loaded;
  // The library reads this when it is loaded, makes a device id under ~/.cache without it, and may
  // report to its maker.
  process.env.ORT_DISABLE_TELEMETRY = '1';
  loaded = createRequire(import.meta.url)('onnxruntime-node') as Runtime;
  loaded.env.logLevel = 'fatal';
  return loaded;
}

/** One cached tensor, [1, heads, tokens, headSize], as it goes in and as it comes out. */
interface CacheEntry {
  input: string;
  output: string;
  heads: number;
  headSize: number;
}

/**
 * The KV cache as tensors of the cached length: each run takes the last run's `present` as its `past`.
 *
 * This binding copies outputs, so memory cannot be shared between the two, and a tensor with room for the
 * whole context would be copied whole for every token.
 */
class GrowingDecoder implements Decoder {
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly #runtime: Runtime;
  readonly #session: InferenceSession;
  readonly #entries: readonly CacheEntry[];
  #past: TensorMap;
  #length = 0;

  constructor(runtime: Runtime, session: InferenceSession, contextLength: number) {
    this.contextLength = contextLength;
    this.#runtime = runtime;
    this.#session = session;
    this.#entries = cacheEntries(session);
    this.vocabularySize = vocabularySize(session);
    this.#past = this.#empty();
  }

  get length(): number {
    return this.#length;
  }

  async forward(ids: readonly number[]): Promise<Float32Array> {
    const total = this.#length + ids.length;
    if (ids.length === 0 || total > this.contextLength) {
      throw new Error(`cannot append ${ids.length} tokens to ${this.#length} of ${this.contextLength}`);
    }
    const { Tensor } = this.#runtime;
    const outputs = await this.#session.run(
      {
        input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
        seqlens_k: new Tensor('int32', Int32Array.of(total - 1), [1]),
        total_sequence_length: new Tensor('int32', Int32Array.of(total), [1]),
        ...this.#past,
      },
      { logSeverityLevel: severityFatal },
    );
    this.#keep(outputs as TensorMap);
    this.#length = total;
    const logits = outputs.logits!.data as Float32Array;
    return logits.subarray(logits.length - this.vocabularySize);
  }

  rewind(length: number): void {
    if (length < 0 || length > this.#length) throw new Error(`cannot rewind ${this.#length} to ${length}`);
    // What is beyond the length stays in the tensors until it is overwritten; the graph never reads it.
    this.#length = length;
  }

  reset(): void {
    this.#replace(this.#empty());
    this.#length = 0;
  }

  async dispose(): Promise<void> {
    this.#replace({});
    await this.#session.release();
  }

  #keep(outputs: TensorMap): void {
    const past: TensorMap = {};
    for (const { input, output } of this.#entries) past[input] = outputs[output]!;
    this.#replace(past);
  }

  #replace(past: TensorMap): void {
    for (const tensor of Object.values(this.#past)) release(tensor);
    this.#past = past;
  }

  #empty(): TensorMap {
    const past: TensorMap = {};
    for (const { input, heads, headSize } of this.#entries) {
      past[input] = new this.#runtime.Tensor('float32', new Float32Array(0), [1, heads, 0, headSize]);
    }
    return past;
  }
}

/**
 * Gives a tensor's memory back now. Left to the garbage collector, a few generations of the cache are
 * alive at a time: 100 to 200 MB more for a 135 M model at 1000 to 2000 tokens.
 */
function release(tensor: Tensor): void {
  (tensor.data as Float32Array<ArrayBuffer>).buffer.transfer(0);
  tensor.dispose();
}

/** The `past_key_values.*` inputs, each with its `present.*` output; refuses what is not understood. */
function cacheEntries(session: InferenceSession): CacheEntry[] {
  const entries: CacheEntry[] = [];
  for (const input of session.inputMetadata) {
    if (['input_ids', 'seqlens_k', 'total_sequence_length'].includes(input.name)) continue;
    const [, layer] = /^past_key_values\.(.+)$/.exec(input.name) ?? [];
    const output = `present.${layer}`;
    const [, heads, , headSize] = input.isTensor ? input.shape : [];
    if (layer === undefined || !session.outputNames.includes(output)) {
      throw new Error(`the graph has an input that the engine does not know: ${input.name}`);
    }
    if (
      !input.isTensor ||
      input.type !== 'float32' ||
      typeof heads !== 'number' ||
      typeof headSize !== 'number'
    ) {
      throw new Error(`the graph's ${input.name} is not float32 [batch, heads, tokens, head size]`);
    }
    entries.push({ input: input.name, output, heads, headSize });
  }
  for (const name of ['input_ids', 'seqlens_k', 'total_sequence_length']) {
    if (!session.inputNames.includes(name)) throw new Error(`the graph has no input ${name}`);
  }
  return entries;
}

function vocabularySize(session: InferenceSession): number {
  const logits = session.outputMetadata.find(({ name }) => name === 'logits');
  const size = logits?.isTensor ? logits.shape.at(-1) : undefined;
  if (typeof size !== 'number') throw new Error('the graph has no output logits of a fixed vocabulary');
  return size;
}
