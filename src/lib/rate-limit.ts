/** Of what may come hundreds of times a second, lets the first few of each interval through and counts the others. */
export class RateLimit {
  readonly #max: number;
  readonly #interval_ms: number;
  readonly #others: (count: number) => void;
  #count = 0;
  #timer: NodeJS.Timeout | null = null;

  /** @param others is told at the end of an interval how many came besides */
  constructor(max: number, interval_ms: number, others: (count: number) => void) {
    this.#max = max;
    this.#interval_ms = interval_ms;
    this.#others = others;
  }

  /** Whether this one is among the first few. */
  admits(): boolean {
    this.#timer ??= setTimeout(() => this.#end(), this.#interval_ms).unref();
    return ++this.#count <= this.#max;
  }

  #end(): void {
    const others = this.#count - this.#max;
    this.#count = 0;
    this.#timer = null;
    if (others > 0) this.#others(others);
  }
}
