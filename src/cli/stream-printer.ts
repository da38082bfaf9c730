import type { Result, TokenBatch } from '../contract/result.ts';

/**
 * Prints an answer as it streams, and makes sure that in the end the whole answer stands there.
 *
 * Pieces are QoS 0: one may be missing. A second attempt starts the text over.
 */
export class StreamPrinter {
  #attempt = 1;
  #printed = '';

  token({ attempt, text }: TokenBatch): void {
    if (attempt < this.#attempt) return;
    if (attempt > this.#attempt) this.#startOver(attempt);
    this.#printed += text;
    process.stdout.write(text);
  }

  end({ text, attempt }: Result): void {
    if (this.#printed !== text) {
      if (this.#printed !== '') this.#startOver(attempt);
      process.stdout.write(text);
    }
    if (text !== '') process.stdout.write('\n');
  }

  #startOver(attempt: number): void {
    process.stdout.write('\n');
    this.#attempt = attempt;
    this.#printed = '';
  }
}
