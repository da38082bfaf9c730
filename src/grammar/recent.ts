/** What was asked for lately, by name; of more than `max`, the one that was asked for longest ago goes. */
export class Recent<T> {
  readonly #max: number;
  readonly #gone: (value: T) => void;
  /** Least recently used first. */
  readonly #values = new Map<string, T>();

  /** @param gone called with each that goes */
  constructor(max: number, gone: (value: T) => void = () => undefined) {
    this.#max = max;
    this.#gone = gone;
  }

  get(name: string): T | undefined {
    const value = this.#values.get(name);
    if (value === undefined) return undefined;
    this.#values.delete(name);
    this.#values.set(name, value);
    return value;
  }

  /** Takes one that is not there, and returns it. */
  add(name: string, value: T): T {
    for (const [oldest, old] of this.#values) {
      if (this.#values.size < this.#max) break;
      this.#values.delete(oldest);
      this.#gone(old);
    }
    this.#values.set(name, value);
    return value;
  }
}
