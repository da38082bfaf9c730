/** The decoder over `onnxruntime-node`, for where its library cannot be called directly. */

import { createRequire } from 'node:module';
import { setImmediate } from 'node:timers/promises';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { bytesOf } from '../lib/bytes-of.ts';
import { cacheDims, type GraphInterface, type PastEntry } from './graph-interface.ts';
import { firstTokens, type GrownCache, GrownDecoder } from './grown-decoder.ts';
import { type Compute, sessionOptions, severityFatal } from './session-options.ts';
import type { Feed } from './token-inputs.ts';

export type NodeRuntime = typeof import('onnxruntime-node');
type TensorMap = Record<string, Tensor>;

/** @throws whatever ONNX Runtime says of a graph it cannot run */
export async function openNodeDecoder(
  graphPath: string,
  graph: GraphInterface,
  contextLength: number,
  compute: Compute,
): Promise<GrownDecoder> {
  const runtime = loadRuntime();
  const session = await runtime.InferenceSession.create(graphPath, sessionOptions(compute));
  return new GrownDecoder(graph, new NodeCache(runtime, session, graph), contextLength);
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
 * This binding copies outputs, so memory cannot be shared between past and present, and a tensor with room for the
 * whole context would be copied whole for every token.
 */
class NodeCache implements GrownCache {
  readonly #runtime: NodeRuntime;
  readonly #session: InferenceSession;
  readonly #graph: GraphInterface;
  #past: TensorMap;

  constructor(runtime: NodeRuntime, session: InferenceSession, graph: GraphInterface) {
    this.#runtime = runtime;
    this.#session = session;
    this.#graph = graph;
    this.#past = this.#empty();
  }

  async run(feeds: readonly Feed[], wanted: number, signal?: AbortSignal): Promise<Float32Array> {
    // A run holds the thread until it is over. The turn of the event loop before it lets a cancel in.
    await setImmediate();
    signal?.throwIfAborted();
    const { cache, logits, vocabularySize } = this.#graph;
    const inputs: TensorMap = Object.fromEntries(
      Object.entries(this.#past).map(([name, tensor]) => [name, feedable(tensor)]),
    );
    for (const { name, type, data, dims } of feeds)
      inputs[name] = new this.#runtime.Tensor(type, data as BigInt64Array, dims);
    const outputs = (await this.#session.run(inputs, { logSeverityLevel: severityFatal })) as TensorMap;
    const present: TensorMap = {};
    for (const { input, output } of cache) present[input] = outputs[output]!;
    this.#replace(present);
    const all = outputs[logits]!.data as Float32Array | Float16Array;
    const last = all.subarray(Math.max(0, all.length - wanted * vocabularySize));
    return last instanceof Float32Array ? last : Float32Array.from(last);
  }

  /** The tensors that had them leave their memory to those that are made. */
  keep(tokens: number): void {
    // An operator that is told the lengths leaves what is beyond them alone, until it is overwritten.
    if (this.#graph.shared) return;
    for (const entry of this.#graph.cache) {
      const { data, dims } = this.#past[entry.input]!;
      const bytes = firstTokens(bytesOf(data as NodeJS.TypedArray), dims, tokens);
      this.#past[entry.input] = this.#tensor(entry, bytes, tokens);
    }
  }

  clear(): void {
    this.#replace(this.#empty());
  }

  async dispose(): Promise<void> {
    this.#replace({});
    await this.#session.release();
  }

  #replace(past: TensorMap): void {
    for (const tensor of Object.values(this.#past)) release(tensor);
    this.#past = past;
  }

  #empty(): TensorMap {
    return Object.fromEntries(
      this.#graph.cache.map((entry) => [entry.input, this.#tensor(entry, new Uint8Array(0), 0)]),
    );
  }

  #tensor(entry: PastEntry, { buffer, byteOffset, byteLength }: Uint8Array, tokens: number): Tensor {
    const data = new arrays[entry.type](
      buffer as ArrayBuffer,
      byteOffset,
      byteLength / arrays[entry.type].BYTES_PER_ELEMENT,
    );
    return new this.#runtime.Tensor(entry.type, data as Float32Array, cacheDims(entry, tokens));
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

/**
 * The binding (1.30) takes a Float16Array for an empty one, and bits as they are for what they are; `Tensor`
 * makes the former of the latter, so it is gone round.
 */
function feedable(tensor: Tensor): Tensor {
  if (tensor.type !== 'float16') return tensor;
  const { type, dims, location } = tensor;
  const { buffer, byteOffset, byteLength } = tensor.data as unknown as Uint16Array;
  return {
    type,
    dims,
    location,
    data: new Uint16Array(buffer, byteOffset, byteLength / 2),
  } as unknown as Tensor;
}

const arrays = {
  float32: Float32Array,
  float16: Float16Array,
  int8: Int8Array,
  uint8: Uint8Array,
} as const;
