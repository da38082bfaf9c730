import { messageOf } from './errors.ts';

/**
 * Work that makes a process smaller or faster, and that it can do without: where it fails, that is said once, it is
 * given up, and nothing else is the worse for it.
 */
export class Dispensable {
  readonly #without: string;
  readonly #say: (line: string) => void;
  #givenUp = false;

  /**
   * @param without how it is without this work: `memory stays in small pages`
   * @param say a line for the log
   */
  constructor(without: string, say: (line: string) => void = sayOfEngine) {
    this.#without = without;
    this.#say = say;
  }

  /** Begins at once; neither throws nor rejects. */
  async attempt(work: () => unknown): Promise<void> {
    if (this.#givenUp) return;
    try {
      await work();
    } catch (thrown) {
      // Another that had begun may have said it meanwhile.
      if (!this.#givenUp) this.#say(`${this.#without}: ${messageOf(thrown)}`);
      this.#givenUp = true;
    }
  }
}

/** What begins like this the daemon takes over into its log. */
function sayOfEngine(line: string): void {
  console.error(`slmd engine: ${line}`);
}
