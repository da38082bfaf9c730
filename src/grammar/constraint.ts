import type { Choice } from './matcher.ts';

/** What holds one answer to its grammar: which tokens may come next, and whether it is whole. */
export class Constraint {
  readonly #next: (id: number) => Promise<Choice>;
  readonly #over: () => void;
  #choice: Choice;

  constructor(first: Choice, next: (id: number) => Promise<Choice>, over: () => void) {
    this.#choice = first;
    this.#next = next;
    this.#over = over;
  }

  /** Nothing may follow but the end. */
  get complete(): boolean {
    return this.#choice.complete;
  }

  /** How the answer goes on where there is no choice; a guess all the same. */
  get foretold(): string {
    return this.#choice.foretold;
  }

  /** Makes every token impossible but those that may come next. */
  mask(logits: Float32Array): void {
    const { mask } = this.#choice;
    for (const [i, word] of mask.entries()) {
      if (word === -1) continue;
      const end = Math.min(logits.length, i * 32 + 32);
      for (let id = i * 32; id < end; id++)
        if ((word & (1 << (id & 31))) === 0) logits[id] = Number.NEGATIVE_INFINITY;
    }
  }

  /** Takes the token that was chosen, one that the mask allows. */
  async accept(id: number): Promise<void> {
    this.#choice = await this.#next(id);
  }

  /** The answer is over, and another may begin; to be called once. */
  close(): void {
    this.#over();
  }
}
