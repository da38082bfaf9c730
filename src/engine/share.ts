/** How often something was so, lately: a mean that forgets. */
export class Share {
  readonly #memory: number;
  #hits: number;
  #tries: number;

  /**
   * @param guess what is thought of it before anything was seen
   * @param weight as if the guess came from so many tries
   * @param memory tries after which an old one counts a third
   */
  constructor(guess: number, weight: number, memory: number) {
    this.#hits = guess * weight;
    this.#tries = weight;
    this.#memory = memory;
  }

  get value(): number {
    return this.#hits / this.#tries;
  }

  note(hits: number, tries: number): void {
    const kept = Math.exp(-tries / this.#memory);
    this.#hits = this.#hits * kept + hits;
    this.#tries = this.#tries * kept + tries;
  }
}
