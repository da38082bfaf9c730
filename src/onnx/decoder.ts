/**
 * One sequence of tokens and the model that continues it. What holds the KV cache, and how, is behind it.
 *
 * INVARIANTS
 * - one `forward` at a time; `rewind`, `reset` and `dispose` never while one runs
 * - a `forward` that fails leaves `length` as it was
 */
export interface Decoder {
  /** Most tokens that the sequence may have. */
  readonly contextLength: number;
  readonly vocabularySize: number;
  /** Tokens in the KV cache. */
  readonly length: number;
  /**
   * Appends tokens and returns the logits of the last one, [vocabulary]; the caller may overwrite them.
   *
   * @param ids at least one, and no more than the context length leaves
   */
  forward(ids: readonly number[]): Promise<Float32Array>;
  /** Forgets all but the first `length` tokens. */
  rewind(length: number): void;
  /** Forgets all tokens and gives their memory back. */
  reset(): void;
  dispose(): Promise<void>;
}
