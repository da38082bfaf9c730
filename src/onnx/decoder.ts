/**
 * One sequence of tokens and the model that continues it. What holds the KV cache, and how, is behind it.
 *
 * INVARIANTS
 * - one `forward` at a time; `rewind`, `reset` and `dispose` never while one runs
 * - a `forward` that fails or is aborted leaves `length` as it was
 */
export interface Decoder {
  /** Most tokens that the sequence may have. */
  readonly contextLength: number;
  readonly vocabularySize: number;
  /** Tokens in the KV cache. */
  readonly length: number;
  /**
   * Appends tokens and returns the logits of the last one, [vocabulary]. They are the caller's to overwrite,
   * until the next `forward` does.
   *
   * @param ids at least one, and no more than the context length leaves
   * @param signal ends the run early; it rejects with the signal's reason
   */
  forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array>;
  /** Forgets all but the first `length` tokens. */
  rewind(length: number): void;
  /** Forgets all tokens. */
  reset(): void;
  dispose(): Promise<void>;
}

/** @throws where the tokens do not fit: the caller has not counted */
export function assertRoom({ length, contextLength }: Decoder, ids: readonly number[]): void {
  if (ids.length === 0 || length + ids.length > contextLength)
    throw new Error(`cannot append ${ids.length} tokens to ${length} of ${contextLength}`);
}

/** @throws where there are not as many tokens */
export function assertRewind({ length }: Decoder, to: number): void {
  if (to < 0 || to > length) throw new Error(`cannot rewind ${length} to ${to}`);
}
