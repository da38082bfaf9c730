/** The decoder over a graph that others exported: what it is fed follows from the tokens alone. */

import { assertRewind, assertRoom, type Decoder } from './decoder.ts';
import type { ForeignInterface, TokenInput } from './foreign-interface.ts';

/** A tensor of whole numbers, as the graph wants it. */
export interface Feed {
  name: string;
  type: 'int32' | 'int64';
  data: Int32Array | BigInt64Array;
  dims: readonly number[];
}

/** A loaded graph with its KV cache, in whichever memory and by whichever binding. */
export interface ForeignSession {
  /**
   * Runs new tokens behind the first `past` of the cache, which then holds `total`; if it fails, the cache
   * is as before.
   *
   * @returns the logits of the last token, the caller's until the next run
   */
  run(feeds: readonly Feed[], past: number, total: number, signal?: AbortSignal): Promise<Float32Array>;
  /** Gives back the memory of all tokens. */
  clear(): void;
  dispose(): Promise<void>;
}

export class ForeignDecoder implements Decoder {
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly #inputs: readonly TokenInput[];
  readonly #session: ForeignSession;
  #length = 0;

  constructor(graph: ForeignInterface, session: ForeignSession, contextLength: number) {
    this.contextLength = contextLength;
    this.vocabularySize = graph.vocabularySize;
    this.#inputs = graph.inputs;
    this.#session = session;
  }

  get length(): number {
    return this.#length;
  }

  async forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    assertRoom(this, ids);
    const feeds = this.#inputs.map((input) => feedOf(input, ids, this.#length));
    const total = this.#length + ids.length;
    const logits = await this.#session.run(feeds, this.#length, total, signal);
    this.#length = total;
    return logits;
  }

  rewind(length: number): void {
    assertRewind(this, length);
    this.#length = length;
  }

  reset(): void {
    this.#session.clear();
    this.#length = 0;
  }

  dispose(): Promise<void> {
    return this.#session.dispose();
  }
}

function feedOf({ name, type, meaning, rank }: TokenInput, ids: readonly number[], past: number): Feed {
  const values = valuesOf(meaning, ids, past);
  const dims = rank === 0 ? [] : rank === 1 ? [1] : [1, values.length];
  const data = type === 'int64' ? BigInt64Array.from(values, BigInt) : Int32Array.from(values);
  return { name, type, data, dims };
}

function valuesOf(meaning: TokenInput['meaning'], ids: readonly number[], past: number): readonly number[] {
  const total = past + ids.length;
  switch (meaning) {
    case 'ids':
      return ids;
    case 'mask':
      return new Array<number>(total).fill(1);
    case 'positions':
      return ids.map((_, i) => past + i);
    case 'last':
      return [total - 1];
    case 'total':
      return [total];
    case 'logitsKept':
      return [1];
  }
}

type Numbers = NodeJS.TypedArray;

/** The last row of logits, in float32. */
export function lastLogits(logits: Numbers, vocabularySize: number): Float32Array {
  const row = logits.subarray(logits.length - vocabularySize);
  return row instanceof Float32Array ? row : Float32Array.from(row as Float16Array);
}

/** The first tokens of a cached tensor, in memory of their own; `dims` end with tokens and head size. */
export function firstTokens(bytes: Uint8Array, dims: readonly number[], tokens: number): Uint8Array {
  const held = dims.at(-2)!;
  const heads = dims.slice(0, -2).reduce((product, dim) => product * dim, 1);
  const tokenBytes = held === 0 ? 0 : bytes.length / (heads * held);
  const kept = new Uint8Array(heads * tokens * tokenBytes);
  for (let head = 0; head < heads; head++) {
    const from = head * held * tokenBytes;
    kept.set(bytes.subarray(from, from + tokens * tokenBytes), head * tokens * tokenBytes);
  }
  return kept;
}

export function bytesOf({ buffer, byteOffset, byteLength }: Numbers): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
