/**
 * One sequence of tokens and the model that continues it. What holds the KV cache, and how, is behind it.
 *
 * INVARIANTS
 * - one `forward` at a time; `rewind` and `reset` never while one runs
 * - a `forward` that fails or is aborted leaves `length` as it was
 */
export interface Sequence {
  /** Most tokens that the sequence may have. */
  readonly contextLength: number;
  readonly vocabularySize: number;
  /** Tokens in the KV cache. */
  readonly length: number;
  /**
   * Appends tokens and returns the logits of the last one, [vocabulary]. They are the caller's to overwrite,
   * until the next `forward` of this sequence does.
   *
   * @param ids at least one, and no more than the context length leaves
   * @param signal ends the run early; it rejects with the signal's reason
   */
  forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array>;
  /**
   * As `forward`, and returns the logits of each of the tokens, [tokens, vocabulary]; absent where the graph gives
   * the last ones alone. Kernels round several tokens otherwise than one at a time.
   *
   * @param ids two at least, and no more than `eachMax`
   */
  readonly forwardEach?: (ids: readonly number[], signal?: AbortSignal) => Promise<Float32Array>;
  /** Forgets all but the first `length` tokens. */
  rewind(length: number): void;
  /** Forgets all tokens. */
  reset(): void;
  /** Its KV cache as data; absent where the backend does not give it. */
  readonly snapshots?: Snapshots;
}

/** Most tokens of a run whose logits are all looked at: the token that is sure, and three that are guessed. */
export const eachMax = 4;

/** What the first tokens of a sequence have left in its KV cache: with it they need not be run again. */
export interface Snapshots {
  /** Of a token. */
  readonly tokenBytes: number;
  /** @param tokens no more than the sequence has */
  take(tokens: number): Uint8Array<ArrayBuffer>;
  /** Makes the sequence one of so many tokens, as `take` left it; when no run is under way. */
  restore(tokens: number, snapshot: Uint8Array): Promise<void>;
}

/** A sequence that has a model to itself. */
export interface Decoder extends Sequence {
  /** Gives the model's memory back; never while a `forward` runs. */
  dispose(): Promise<void>;
}

/** Sequences that share a model, each with a row of its KV cache; they are independent of each other. */
export interface DecoderRows {
  readonly rows: readonly Sequence[];
  /** Why there are no more than these: there is no memory for them, or the graph takes one at a time. */
  readonly limit: 'memory' | 'graph';
  /** Gives the model's memory back; never while a `forward` runs. */
  dispose(): Promise<void>;
}

/** @throws where the tokens do not fit: the caller has not counted */
export function assertRoom({ length, contextLength }: Sequence, ids: readonly number[]): void {
  if (ids.length === 0 || length + ids.length > contextLength)
    throw new Error(`cannot append ${ids.length} tokens to ${length} of ${contextLength}`);
}

/** @throws where there are not as many tokens */
export function assertRewind({ length }: Sequence, to: number): void {
  if (to < 0 || to > length) throw new Error(`cannot rewind ${length} to ${to}`);
}

/** The first of the rows, which are given back with it. */
export function firstRow(opened: DecoderRows): Decoder {
  const row = opened.rows[0]!;
  return {
    contextLength: row.contextLength,
    vocabularySize: row.vocabularySize,
    get length() {
      return row.length;
    },
    forward: (ids, signal) => row.forward(ids, signal),
    ...(row.forwardEach && { forwardEach: row.forwardEach }),
    rewind: (length) => row.rewind(length),
    reset: () => row.reset(),
    dispose: () => opened.dispose(),
  };
}
