import { Detokenizer } from '../model/detokenizer.ts';
import type { Tokenizer } from '../model/tokenizer.ts';
import { StopFilter } from './stop.ts';

/** The text of an answer while it comes into being: whole characters, and nothing of a stop string. */
export class Answer {
  readonly #detokenizer: Detokenizer;
  readonly #filter: StopFilter;
  #text = '';

  constructor(tokenizer: Tokenizer, stops: readonly string[]) {
    this.#detokenizer = new Detokenizer(tokenizer);
    this.#filter = new StopFilter(stops);
  }

  /** All text that is final. */
  get text(): string {
    return this.#text;
  }

  /** Whether a stop string has ended the answer. */
  get stopped(): boolean {
    return this.#filter.stopped;
  }

  /** Takes a token and returns the text that became final. */
  push(id: number): string {
    return this.#add(this.#filter.push(this.#detokenizer.push(id)));
  }

  /** No more tokens come: returns the text that was waiting for more. */
  end(): string {
    return this.#add(this.#filter.push(this.#detokenizer.flush()) + this.#filter.flush());
  }

  #add(text: string): string {
    this.#text += text;
    return text;
  }
}
