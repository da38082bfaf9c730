/**
 * Of what may come hundreds of times a second: the first few of each interval in full, the others as a number.
 */
export class Sparing {
  readonly #whole_max: number;
  readonly #interval_ms: number;
  readonly #others: (count: number) => void;
  #count = 0;
  #timer: NodeJS.Timeout | null = null;

  /** @param others is told at the end of an interval how many came besides */
  constructor(whole_max: number, interval_ms: number, others: (count: number) => void) {
    this.#whole_max = whole_max;
    this.#interval_ms = interval_ms;
    this.#others = others;
  }

  /** Whether this one is among the first few. */
  admits(): boolean {
    this.#timer ??= setTimeout(() => this.#end(), this.#interval_ms).unref();
    return ++this.#count <= this.#whole_max;
  }

  #end(): void {
    const others = this.#count - this.#whole_max;
    this.#count = 0;
    this.#timer = null;
    if (others > 0) this.#others(others);
  }
}
