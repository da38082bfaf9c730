import type { Sequence } from '../onnx/decoder.ts';
import { reusableTokens } from './prefill.ts';

/**
 * What a row of the KV cache still holds of its last prompt: the next one goes on from where both begin alike. A
 * system prompt, examples and the turns of a conversation are run through the model once.
 *
 * Tokens of an answer are not kept: they went through the model one by one, which rounds otherwise than a
 * prompt does, and an answer would then depend on what was asked before.
 *
 * INVARIANT: the first tokens of the sequence are `#tokens`, each of them from a run of a prompt.
 */
export class PrefixCache {
  readonly sequence: Sequence;
  #tokens: readonly number[] = [];

  constructor(sequence: Sequence) {
    this.sequence = sequence;
  }

  /** How many of a prompt's tokens need not be run again. */
  reusable(prompt: readonly number[]): number {
    return reusableTokens(this.#tokens, prompt);
  }

  /** Makes the sequence ready for a prompt; returns how many of its tokens are there already. */
  enter(prompt: readonly number[]): number {
    const cached = this.reusable(prompt);
    if (cached === 0) this.clear();
    else this.sequence.rewind(cached);
    this.#tokens = this.#tokens.slice(0, cached);
    return cached;
  }

  /** After a generation, however it ended, in which every run of the prompt was whole or not at all. */
  leave(prompt: readonly number[]): void {
    const { length } = this.sequence;
    if (length > prompt.length) this.sequence.rewind(prompt.length);
    this.#tokens = prompt.slice(0, length);
  }

  /** After a failure: what the KV cache holds is not known. */
  clear(): void {
    this.sequence.reset();
    this.#tokens = [];
  }
}
