import { monotonicMs } from './clock.ts';

/** A value that costs something to read, and is read again once it is older than `kept_ms`. */
export class Cached<T> {
  readonly #read: () => T;
  readonly #kept_ms: number;
  #last: { value: T; at: number } | null = null;

  constructor(read: () => T, kept_ms: number) {
    this.#read = read;
    this.#kept_ms = kept_ms;
  }

  get value(): T {
    const now = monotonicMs();
    if (this.#last === null || now - this.#last.at >= this.#kept_ms)
      this.#last = { value: this.#read(), at: now };
    return this.#last.value;
  }
}
