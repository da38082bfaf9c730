/** The decoder over a KV cache that grows: each run's present is the past of the next. */

import { assertRewind, assertRoom, type Decoder } from './decoder.ts';
import type { GraphInterface } from './graph-interface.ts';
import { type Feed, feedOf } from './token-inputs.ts';

/** A loaded graph with its KV cache, by whichever binding. */
export interface GrownCache {
  /**
   * Runs new tokens behind those that are kept; if it fails, the cache is as before.
   *
   * @returns the logits of so many of the last tokens, or of as many as the graph gives; the caller's until the next run
   */
  run(feeds: readonly Feed[], wanted: number, signal?: AbortSignal): Promise<Float32Array>;
  /** Forgets all but the first tokens. */
  keep(tokens: number): void;
  /** Gives back the memory of all tokens. */
  clear(): void;
  dispose(): Promise<void>;
}

export class GrownDecoder implements Decoder {
  readonly contextLength: number;
  readonly vocabularySize: number;
  forwardEach?: NonNullable<Decoder['forwardEach']>;
  readonly #graph: GraphInterface;
  readonly #cache: GrownCache;
  #length = 0;
  /** Tokens that the cache has: after a rewind more than are in use, until the next run. */
  #held = 0;

  constructor(graph: GraphInterface, cache: GrownCache, contextLength: number) {
    this.contextLength = contextLength;
    this.vocabularySize = graph.vocabularySize;
    this.#graph = graph;
    this.#cache = cache;
  }

  /**
   * Finds out whether each token of a run has logits. Before anything else is run.
   *
   * @throws whatever ONNX Runtime says of a graph that cannot run several tokens
   */
  async learn(): Promise<void> {
    if (this.contextLength < 2) return;
    const { length } = await this.#append([0, 0], 2);
    if (length === 2 * this.vocabularySize)
      this.forwardEach = (ids, signal) => this.#append(ids, ids.length, signal);
    this.reset();
  }

  get length(): number {
    return this.#length;
  }

  forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    return this.#append(ids, 1, signal);
  }

  async #append(ids: readonly number[], wanted: number, signal?: AbortSignal): Promise<Float32Array> {
    assertRoom(this, ids);
    const past = this.#length;
    const feeds = this.#graph.inputs.map((input) => feedOf(input, [{ past, ids }], wanted));
    if (past < this.#held) this.#cache.keep(past);
    this.#held = past;
    const logits = await this.#cache.run(feeds, wanted, signal);
    this.#length = past + ids.length;
    this.#held = this.#length;
    return logits;
  }

  rewind(length: number): void {
    assertRewind(this, length);
    this.#length = length;
  }

  reset(): void {
    this.#cache.clear();
    this.#length = 0;
    this.#held = 0;
  }

  dispose(): Promise<void> {
    return this.#cache.dispose();
  }
}

/**
 * Moves the first tokens of each head of a cached tensor together, in the memory that it has; `dims` end with tokens
 * and head size.
 *
 * @returns the part of it that they have now
 */
export function firstTokens(bytes: Uint8Array, dims: readonly number[], tokens: number): Uint8Array {
  const held = dims.at(-2)!;
  const heads = dims.slice(0, -2).reduce((product, dim) => product * dim, 1);
  const headBytes = bytes.length / heads;
  const keptBytes = held === 0 ? 0 : (headBytes / held) * tokens;
  for (let head = 1; head < heads; head++)
    bytes.copyWithin(head * keptBytes, head * headBytes, head * headBytes + keptBytes);
  return bytes.subarray(0, heads * keptBytes);
}
