/** Graphs that others exported, over ONNX Runtime's C API: no cache is ever copied, but for a rewind of a grown one. */

import { CacheMemory } from './cache-memory.ts';
import { type Library, NativeSession, NativeValue, OutputValue, type Plan } from './ffi/index.ts';
import { bytesOf, type Feed, type ForeignSession, firstTokens, lastLogits } from './foreign-decoder.ts';
import { cacheDims, type ForeignInterface, type PastEntry } from './foreign-interface.ts';
import { settleLoaded } from './loaded-memory.ts';
import { type Compute, sessionOptions } from './session-options.ts';

/** @throws whatever ONNX Runtime says of a graph it cannot run */
export async function openForeignNative(
  library: Library,
  graphPath: string,
  graph: ForeignInterface,
  contextLength: number,
  compute: Compute,
): Promise<ForeignSession> {
  const session = await NativeSession.create(library, graphPath, sessionOptions(compute));
  try {
    settleLoaded(library, graphPath);
    const run = new NativeRun(session, graph);
    return graph.shared ? new SharedCache(run, graph, contextLength) : new GrowingCache(run, graph);
  } catch (thrown) {
    await session.release();
    throw thrown;
  }
}

/** One plan for every run: the tokens are bound anew each time, the cache by whoever keeps it. */
class NativeRun {
  readonly library: Library;
  readonly plan: Plan;
  readonly #session: NativeSession;
  readonly #graph: ForeignInterface;

  constructor(session: NativeSession, graph: ForeignInterface) {
    this.library = session.library;
    this.#session = session;
    this.#graph = graph;
    const { inputs, cache, logits } = graph;
    this.plan = session.plan(
      [...inputs.map(({ name }) => name), ...cache.map(({ input }) => input)],
      [logits, ...cache.map(({ output }) => output)],
    );
  }

  async run(feeds: readonly Feed[], signal: AbortSignal | undefined): Promise<Float32Array> {
    const values = feeds.map(({ type, data, dims }) => new NativeValue(this.library, type, data, dims));
    for (const [i, { name }] of feeds.entries()) this.plan.bindInput(name, values[i]!);
    try {
      await this.plan.run({ signal });
    } finally {
      for (const value of values) value.release();
    }
    const { logits, vocabularySize } = this.#graph;
    const output = new OutputValue(this.library, this.plan.takeOutput(logits));
    try {
      return lastLogits(output.view().data, vocabularySize).slice();
    } finally {
      output.release();
    }
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** Past and present are the same memory, as with slmd's own graphs. */
class SharedCache implements ForeignSession {
  readonly #run: NativeRun;
  readonly #memory: CacheMemory;

  constructor(run: NativeRun, { cache }: ForeignInterface, contextLength: number) {
    this.#run = run;
    this.#memory = new CacheMemory(run.library, cache, 1, contextLength);
    this.#memory.bind(0, 1, run.plan);
  }

  /** What is behind the past is overwritten before the graph reads it. */
  run(feeds: readonly Feed[], past: number, total: number, signal?: AbortSignal): Promise<Float32Array> {
    this.#memory.rewind(0, past);
    this.#memory.reach(0, total);
    return this.#run.run(feeds, signal);
  }

  clear(): void {
    this.#memory.rewind(0, 0);
  }

  async dispose(): Promise<void> {
    await this.#run.release();
    this.#memory.release();
  }
}

/** A cached tensor of exactly so many tokens. */
type Grown = NativeValue | OutputValue;

/**
 * Each run's present, in the memory that ONNX Runtime gave it, is the past of the next. Its arena stays on: with
 * tensors that grow by a token each time, plain allocation took three times as much.
 */
class GrowingCache implements ForeignSession {
  readonly #run: NativeRun;
  readonly #entries: readonly PastEntry[];
  #past: readonly Grown[];
  /** Tokens in `#past`. */
  #held = 0;

  constructor(run: NativeRun, { cache }: ForeignInterface) {
    this.#run = run;
    this.#entries = cache;
    this.#past = this.#empty();
  }

  async run(
    feeds: readonly Feed[],
    past: number,
    total: number,
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const { plan, library } = this.#run;
    if (past < this.#held) this.#keep(past);
    for (const [i, { input }] of this.#entries.entries()) plan.bindInput(input, this.#past[i]!);
    const logits = await this.#run.run(feeds, signal);
    const present = this.#entries.map(({ output }) => new OutputValue(library, plan.takeOutput(output)));
    this.#replace(present, total);
    return logits;
  }

  clear(): void {
    this.#replace(this.#empty(), 0);
  }

  async dispose(): Promise<void> {
    await this.#run.release();
    this.#replace([], 0);
  }

  /** Copies the first tokens out of what is held. */
  #keep(tokens: number): void {
    const kept = this.#entries.map((entry, i) => {
      const { data, dims } = viewOf(this.#past[i]!);
      const bytes = firstTokens(bytesOf(data), dims, tokens);
      return new NativeValue(this.#run.library, entry.type, bytes, cacheDims(entry, tokens));
    });
    this.#replace(kept, tokens);
  }

  #replace(past: readonly Grown[], tokens: number): void {
    for (const value of this.#past) value.release();
    this.#past = past;
    this.#held = tokens;
  }

  #empty(): Grown[] {
    return this.#entries.map(
      (entry) => new NativeValue(this.#run.library, entry.type, new Uint8Array(0), cacheDims(entry, 0)),
    );
  }
}

function viewOf(value: Grown): { data: NodeJS.TypedArray; dims: readonly number[] } {
  return value instanceof OutputValue ? value.view() : value;
}
