/** Graphs that others exported, over `onnxruntime-node`: each run's present, a copy, is the past of the next. */

import { setImmediate } from 'node:timers/promises';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { bytesOf, type Feed, type ForeignSession, firstTokens, lastLogits } from './foreign-decoder.ts';
import { cacheDims, type ForeignInterface, type PastEntry } from './foreign-interface.ts';
import { loadRuntime, type NodeRuntime, release, type TensorMap } from './node-decoder.ts';
import { type Compute, sessionOptions, severityFatal } from './session-options.ts';

/** @throws whatever ONNX Runtime says of a graph it cannot run */
export async function openForeignNode(
  graphPath: string,
  graph: ForeignInterface,
  compute: Compute,
): Promise<ForeignSession> {
  const runtime = loadRuntime();
  const session = await runtime.InferenceSession.create(graphPath, sessionOptions(compute));
  return new NodeCache(runtime, session, graph);
}

class NodeCache implements ForeignSession {
  readonly #runtime: NodeRuntime;
  readonly #session: InferenceSession;
  readonly #graph: ForeignInterface;
  #past: TensorMap;
  /** Tokens in `#past`. */
  #held = 0;

  constructor(runtime: NodeRuntime, session: InferenceSession, graph: ForeignInterface) {
    this.#runtime = runtime;
    this.#session = session;
    this.#graph = graph;
    this.#past = this.#empty();
  }

  async run(
    feeds: readonly Feed[],
    past: number,
    total: number,
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    // A run holds the thread until it is over. The turn of the event loop before it lets a cancel in.
    await setImmediate();
    signal?.throwIfAborted();
    if (past < this.#held) this.#keep(past);
    const inputs: TensorMap = Object.fromEntries(
      Object.entries(this.#past).map(([name, tensor]) => [name, feedable(tensor)]),
    );
    for (const { name, type, data, dims } of feeds)
      inputs[name] = new this.#runtime.Tensor(type, data as BigInt64Array, dims);
    const outputs = (await this.#session.run(inputs, { logSeverityLevel: severityFatal })) as TensorMap;
    const present: TensorMap = {};
    for (const { input, output } of this.#graph.cache) present[input] = outputs[output]!;
    this.#replace(present, total);
    const { logits, vocabularySize } = this.#graph;
    return lastLogits(outputs[logits]!.data as NodeJS.TypedArray, vocabularySize);
  }

  clear(): void {
    this.#replace(this.#empty(), 0);
  }

  async dispose(): Promise<void> {
    this.#replace({}, 0);
    await this.#session.release();
  }

  /** Copies the first tokens out of what is held. */
  #keep(tokens: number): void {
    const kept: TensorMap = {};
    for (const entry of this.#graph.cache) {
      const { data, dims } = this.#past[entry.input]!;
      const bytes = firstTokens(bytesOf(data as NodeJS.TypedArray), dims, tokens);
      kept[entry.input] = this.#tensor(entry, bytes, tokens);
    }
    this.#replace(kept, tokens);
  }

  #replace(past: TensorMap, tokens: number): void {
    for (const tensor of Object.values(this.#past)) release(tensor);
    this.#past = past;
    this.#held = tokens;
  }

  #empty(): TensorMap {
    return Object.fromEntries(
      this.#graph.cache.map((entry) => [entry.input, this.#tensor(entry, new Uint8Array(0), 0)]),
    );
  }

  #tensor(entry: PastEntry, { buffer, byteLength }: Uint8Array, tokens: number): Tensor {
    const data = new arrays[entry.type](
      buffer as ArrayBuffer,
      0,
      byteLength / arrays[entry.type].BYTES_PER_ELEMENT,
    );
    return new this.#runtime.Tensor(entry.type, data as Float32Array, cacheDims(entry, tokens));
  }
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
