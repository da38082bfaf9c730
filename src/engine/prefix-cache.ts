import type { Sequence } from '../onnx/decoder.ts';
import { reusableTokens, sharedTokens, wholeGrains } from './prefill.ts';
import type { PrefixStore } from './prefix-store.ts';

/** What a template ends a prompt with, and may write otherwise once the answer stands behind it. */
const turnTokens = 4;

/**
 * What a row of the KV cache still holds of its last prompt: the next one goes on from
 * where both begin alike. A system prompt, examples and the turns of a conversation are run through the model once.
 *
 * Tokens of an answer are not kept: they went through the model one by one, which rounds otherwise than a
 * prompt does, and an answer would then depend on what was asked before.
 *
 * What two prompts have in common before they part is stored, where there is a store: the next process has it,
 * too. A conversation that grows does not part from itself, and is not stored at every turn.
 *
 * INVARIANT: the first tokens of the sequence are `#tokens`, each of them from a run of a prompt.
 */
export class PrefixCache {
  readonly sequence: Sequence;
  readonly #store: PrefixStore | null;
  readonly #wholeRuns: boolean;
  #tokens: readonly number[] = [];
  /** How many of them another prompt may go on from. */
  #reusable = 0;
  /** Tokens that the prompt under way has in common with the one before. */
  #common = 0;

  /** @param wholeRuns whether what is reused must come from runs of a whole grain, as the prompt would run it itself */
  constructor(sequence: Sequence, store: PrefixStore | null = null, wholeRuns = false) {
    this.sequence = sequence;
    this.#store = store;
    this.#wholeRuns = wholeRuns;
  }

  /** How many of a prompt's tokens need not be run again. */
  reusable(prompt: readonly number[]): number {
    return Math.min(this.#reusable, reusableTokens(this.#tokens, prompt));
  }

  /** Makes the sequence ready for a prompt; returns how many of its tokens are there already. */
  async enter(prompt: readonly number[]): Promise<number> {
    const grows = sharedTokens(this.#tokens, prompt) > this.#tokens.length - turnTokens;
    this.#common = grows ? 0 : this.reusable(prompt);
    await this.#restore(prompt);
    const cached = this.reusable(prompt);
    if (cached === 0) this.clear();
    else this.sequence.rewind(cached);
    this.#hold(this.#tokens.slice(0, cached));
    return cached;
  }

  /** After a generation, however it ended, in which every run of the prompt was whole or not at all. */
  leave(prompt: readonly number[]): void {
    const { length } = this.sequence;
    if (length > prompt.length) this.sequence.rewind(prompt.length);
    // The last tokens of a prompt may have been run apart from their grain: see `prefillRuns`.
    this.#hold(prompt.slice(0, length), this.#wholeRuns ? wholeGrains(prompt.length - 2) : length);
    const { snapshots } = this.sequence;
    const ids = this.#tokens.slice(0, this.#common);
    if (snapshots !== undefined && this.#store?.wants(ids))
      this.#store.save(ids, () => snapshots.take(ids.length));
  }

  /** Where the store has more of a prompt than the row. */
  async #restore(prompt: readonly number[]): Promise<void> {
    const { snapshots } = this.sequence;
    if (this.#store === null || snapshots === undefined) return;
    if (this.#store.reusable(prompt) <= this.reusable(prompt)) return;
    const prefix = await this.#store.load(prompt);
    if (prefix === null) return;
    await snapshots.restore(prefix.ids.length, prefix.snapshot);
    this.#hold(prefix.ids);
  }

  /** After a failure: what the KV cache holds is not known. */
  clear(): void {
    this.sequence.reset();
    this.#hold([]);
  }

  #hold(tokens: readonly number[], reusable = tokens.length): void {
    this.#tokens = tokens;
    this.#reusable = reusable;
  }
}
