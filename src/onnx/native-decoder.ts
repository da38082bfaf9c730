/** The decoder over ONNX Runtime's C API: past and present are the same memory, and nothing is copied. */

import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { replaceAccuracyLevel } from './accuracy-level.ts';
import { CacheMemory } from './cache-memory.ts';
import { assertRewind, assertRoom, type Decoder } from './decoder.ts';
import { type Library, NativeSession, NativeValue, type Plan } from './ffi/index.ts';
import { type GraphInterface, readInterface } from './graph-interface.ts';
import { type Compute, sessionOptions } from './session-options.ts';

/** @throws whatever ONNX Runtime says of a graph it cannot run, or what the interface lacks */
export async function openNativeDecoder(
  library: Library,
  graphPath: string,
  contextLength: number,
  compute: Compute,
): Promise<Decoder> {
  const session = await openSession(library, graphPath, compute);
  try {
    return new SharedDecoder(session, contextLength);
  } catch (thrown) {
    await session.release();
    throw thrown;
  }
}

/** The graph as it is, or with another accuracy level: then it is loaded from memory, its weights as before. */
function openSession(library: Library, graphPath: string, compute: Compute): Promise<NativeSession> {
  const options = sessionOptions(compute);
  const { accuracyLevel } = compute;
  if (accuracyLevel === null || accuracyLevel === 4) return NativeSession.create(library, graphPath, options);
  const graph = replaceAccuracyLevel(readFileSync(graphPath), 4, accuracyLevel);
  const weights = { 'session.model_external_initializers_file_folder_path': dirname(graphPath) };
  return NativeSession.create(library, graph, { ...options, extra: { ...options.extra, ...weights } });
}

/** What depends on how many tokens a run has. */
interface Step {
  ids: NativeValue;
  logits: NativeValue;
}

/**
 * Steps that are kept: single tokens, the prefill chunk, and the last chunks of recent prompts. With all
 * logits, one of them is as large as its tokens times the vocabulary.
 */
const stepsKept = 8;

/**
 * The KV cache has its full capacity from the beginning; each run reads what is there and writes the new
 * tokens behind it. Everything but the number of tokens is bound once.
 */
class SharedDecoder implements Decoder {
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly #session: NativeSession;
  readonly #graph: GraphInterface;
  readonly #memory: CacheMemory;
  readonly #plan: Plan;
  /** T − 1 of the row, and the largest T: the lengths that the graph reads. */
  readonly #seqlens: NativeValue;
  readonly #total: NativeValue;
  readonly #steps = new Map<number, Step>();
  #length = 0;

  constructor(session: NativeSession, contextLength: number) {
    const { library, inputs, outputs } = session;
    this.#graph = readInterface(inputs, outputs);
    this.contextLength = contextLength;
    this.vocabularySize = this.#graph.vocabularySize;
    this.#session = session;
    this.#memory = new CacheMemory(library, this.#graph.cache, 1, contextLength);
    this.#seqlens = new NativeValue(library, 'int32', new Int32Array(1), [1]);
    this.#total = new NativeValue(library, 'int32', new Int32Array(1), [1]);
    const { entries } = this.#memory;
    this.#plan = session.plan(
      ['input_ids', 'seqlens_k', 'total_sequence_length', ...entries.map(({ input }) => input)],
      ['logits', ...entries.map(({ output }) => output)],
    );
    this.#plan.bindInput('seqlens_k', this.#seqlens);
    this.#plan.bindInput('total_sequence_length', this.#total);
    for (const { input, output, value } of entries) {
      this.#plan.bindInput(input, value);
      this.#plan.bindOutput(output, value);
    }
  }

  get length(): number {
    return this.#length;
  }

  async forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    assertRoom(this, ids);
    const total = this.#length + ids.length;
    const step = this.#stepOf(ids.length);
    const tokens = step.ids.data as BigInt64Array;
    for (const [i, id] of ids.entries()) tokens[i] = BigInt(id);
    this.#seqlens.data[0] = total - 1;
    this.#total.data[0] = total;
    this.#plan.bindInput('input_ids', step.ids);
    this.#plan.bindOutput('logits', step.logits);
    await this.#plan.run({ signal });
    this.#length = total;
    const logits = step.logits.data as Float32Array;
    return logits.subarray(logits.length - this.vocabularySize);
  }

  rewind(length: number): void {
    assertRewind(this, length);
    // What is beyond the length is overwritten before the graph reads it.
    this.#length = length;
  }

  reset(): void {
    this.#length = 0;
  }

  async dispose(): Promise<void> {
    await this.#session.release();
    for (const step of this.#steps.values()) releaseStep(step);
    this.#steps.clear();
    this.#memory.release();
    this.#seqlens.release();
    this.#total.release();
  }

  #stepOf(tokens: number): Step {
    const known = this.#steps.get(tokens);
    this.#steps.delete(tokens);
    const step = known ?? this.#makeStep(tokens);
    // The last of the map is the one that was used last; the first goes.
    this.#steps.set(tokens, step);
    const [oldest] = this.#steps;
    if (this.#steps.size > stepsKept && oldest !== undefined) {
      this.#steps.delete(oldest[0]);
      releaseStep(oldest[1]);
    }
    return step;
  }

  #makeStep(tokens: number): Step {
    const { library } = this.#session;
    const positions = this.#graph.allLogits ? tokens : 1;
    return {
      ids: new NativeValue(library, 'int64', new BigInt64Array(tokens), [1, tokens]),
      logits: new NativeValue(library, 'float32', new Float32Array(positions * this.vocabularySize), [
        1,
        positions,
        this.vocabularySize,
      ]),
    };
  }
}

function releaseStep({ ids, logits }: Step): void {
  ids.release();
  logits.release();
}
