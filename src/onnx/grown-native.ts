import { bytesOf } from '../lib/bytes-of.ts';
import { type NativeSession, NativeValue, OutputValue, type Plan } from './ffi/index.ts';
import { cacheDims, type GraphInterface, type PastEntry } from './graph-interface.ts';
import { firstTokens, type GrownCache } from './grown-decoder.ts';
import { takeLogits } from './native-logits.ts';
import type { Feed } from './token-inputs.ts';

/** A cached tensor of exactly so many tokens. */
interface Grown {
  value: NativeValue | OutputValue;
  /** Whose memory it is, where a rewind has left less in it than it was given for. */
  owner?: OutputValue;
}

/**
 * Each run's present, in the memory that ONNX Runtime gave it, is the past of the next; after a rewind the heads move
 * together in it. Its arena stays on: with tensors that grow by a token each time, plain allocation took three times as
 * much.
 */
export class NativeGrownCache implements GrownCache {
  readonly #session: NativeSession;
  readonly #graph: GraphInterface;
  readonly #plan: Plan;
  #past: readonly Grown[];

  constructor(session: NativeSession, graph: GraphInterface) {
    this.#session = session;
    this.#graph = graph;
    const { inputs, cache, logits } = graph;
    this.#plan = session.plan(
      [...inputs.map(({ name }) => name), ...cache.map(({ input }) => input)],
      [logits, ...cache.map(({ output }) => output)],
    );
    this.#past = this.#empty();
  }

  async run(feeds: readonly Feed[], wanted: number, signal?: AbortSignal): Promise<Float32Array> {
    const { library } = this.#session;
    for (const [i, { input }] of this.#graph.cache.entries())
      this.#plan.bindInput(input, this.#past[i]!.value);
    const values = feeds.map(({ type, data, dims }) => new NativeValue(library, type, data, dims));
    for (const [i, { name }] of feeds.entries()) this.#plan.bindInput(name, values[i]!);
    try {
      await this.#plan.run({ signal });
    } finally {
      for (const value of values) value.release();
    }
    const { cache, vocabularySize } = this.#graph;
    this.#replace(
      cache.map(({ output }) => ({ value: new OutputValue(library, this.#plan.takeOutput(output)) })),
    );
    const logits = new Float32Array(wanted * vocabularySize);
    const given = takeLogits(library, this.#plan, this.#graph, logits);
    return logits.subarray(0, given * vocabularySize);
  }

  keep(tokens: number): void {
    this.#past = this.#graph.cache.map((entry, i) => {
      const { value, owner } = this.#past[i]!;
      const { data, dims } = value instanceof OutputValue ? value.view() : value;
      const kept = this.#value(entry, firstTokens(bytesOf(data), dims, tokens), tokens);
      if (value instanceof OutputValue) return { value: kept, owner: value };
      value.release();
      return { value: kept, ...(owner && { owner }) };
    });
  }

  clear(): void {
    this.#replace(this.#empty());
  }

  async dispose(): Promise<void> {
    await this.#session.release();
    this.#replace([]);
  }

  #replace(past: readonly Grown[]): void {
    for (const { value, owner } of this.#past) {
      value.release();
      owner?.release();
    }
    this.#past = past;
  }

  #empty(): Grown[] {
    return this.#graph.cache.map((entry) => ({ value: this.#value(entry, new Uint8Array(0), 0) }));
  }

  #value(entry: PastEntry, bytes: Uint8Array, tokens: number): NativeValue {
    return new NativeValue(this.#session.library, entry.type, bytes, cacheDims(entry, tokens));
  }
}
