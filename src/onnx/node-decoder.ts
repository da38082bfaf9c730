/** The decoder over `onnxruntime-node`, for where its library cannot be called directly. */

import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { assertRewind, assertRoom, type Decoder } from './decoder.ts';
import { type CacheEntry, readInterface } from './graph-interface.ts';
import { type Compute, sessionOptions, severityFatal } from './session-options.ts';

export type NodeRuntime = typeof import('onnxruntime-node');
export type TensorMap = Record<string, Tensor>;

/** @throws whatever ONNX Runtime says of a graph it cannot run, or what the interface lacks */
export async function openNodeDecoder(
  graphPath: string,
  contextLength: number,
  compute: Compute,
): Promise<Decoder> {
  const runtime = loadRuntime();
  const session = await runtime.InferenceSession.create(graphPath, sessionOptions(compute));
  try {
    return new GrowingDecoder(runtime, session, contextLength);
  } catch (thrown) {
    await session.release();
    throw thrown;
  }
}

export function nodeRuntimeVersion(): string {
  return loadRuntime().env.versions.node ?? 'unknown';
}

let loaded: NodeRuntime | undefined;

export function loadRuntime(): NodeRuntime {
  if (loaded !== undefined) return loaded;
  loaded = createRequire(import.meta.url)('onnxruntime-node') as NodeRuntime;
  loaded.env.logLevel = 'fatal';
  return loaded;
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
  readonly #runtime: NodeRuntime;
  readonly #session: InferenceSession;
  readonly #entries: readonly CacheEntry[];
  /** What the graph is told of logits: those of the last token will do. */
  readonly #kept: TensorMap;
  #past: TensorMap;
  #length = 0;

  constructor(runtime: NodeRuntime, session: InferenceSession, contextLength: number) {
    const { cache, vocabularySize, keepsLogits } = readInterface(
      session.inputMetadata,
      session.outputMetadata,
    );
    this.contextLength = contextLength;
    this.vocabularySize = vocabularySize;
    this.#runtime = runtime;
    this.#session = session;
    this.#entries = cache;
    this.#kept = keepsLogits
      ? { num_logits_to_keep: new runtime.Tensor('int64', BigInt64Array.of(1n), [1]) }
      : {};
    this.#past = this.#empty();
  }

  get length(): number {
    return this.#length;
  }

  async forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    assertRoom(this, ids);
    // A run holds the thread until it is over. The turn of the event loop before it lets a cancel in.
    await setImmediate();
    signal?.throwIfAborted();
    const total = this.#length + ids.length;
    const { Tensor } = this.#runtime;
    const outputs = await this.#session.run(
      {
        input_ids: new Tensor('int64', BigInt64Array.from(ids, BigInt), [1, ids.length]),
        seqlens_k: new Tensor('int32', Int32Array.of(total - 1), [1]),
        total_sequence_length: new Tensor('int32', Int32Array.of(total), [1]),
        ...this.#kept,
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
    assertRewind(this, length);
    // What is beyond the length stays in the tensors until it is overwritten; the graph never reads it.
    this.#length = length;
  }

  /** Gives the memory of the tokens back, too: the next sequence begins with tensors of its own. */
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
    for (const { input, type, heads, headSize } of this.#entries) {
      const nothing = type === 'int8' ? new Int8Array(0) : new Float32Array(0);
      past[input] = new this.#runtime.Tensor(type, nothing, [1, heads, 0, headSize]);
    }
    return past;
  }
}

/**
 * Gives a tensor's memory back now. Left to the garbage collector, a few generations of the cache are
 * alive at a time: 100 to 200 MB more for a 135 M model at 1000 to 2000 tokens.
 */
export function release(tensor: Tensor): void {
  (tensor.data as Float32Array<ArrayBuffer>).buffer.transfer(0);
  tensor.dispose();
}
