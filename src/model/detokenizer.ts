/** Stands at the end of a decoded text when its last character is incomplete. */
const replacementCharacter = '\uFFFD';

/** Ids after which a window that never becomes clean is cut. A character has at most four bytes. */
const windowIdsMax = 16;
const windowIdsKept = 8;

/** What a detokenizer needs of a tokenizer: the text of more ids begins with the text of fewer. */
export interface Decoding {
  hasText(id: number): boolean;
  decode(ids: readonly number[]): string;
}

/**
 * Turns ids into text one by one, such that the pieces together are the text of all ids.
 *
 * A character may be spread over several ids, and an id's text may depend on the one before it: some
 * decoders drop the space of the first id only. So a window of ids is decoded, and what it has more than
 * last time is new. A trailing U+FFFD may be half a character and waits for the next id. When none
 * waits, the last id alone is context enough. When one always does, because the model writes bytes that
 * are no characters, a few ids are: UTF-8 finds its feet again within four bytes.
 */
export class Detokenizer {
  readonly #tokenizer: Decoding;
  #window: number[] = [];
  /** How much of the window's text is given out, in UTF-16 units. */
  #given = 0;

  constructor(tokenizer: Decoding) {
    this.#tokenizer = tokenizer;
  }

  /** Returns the text that became final with this id; often one word, sometimes nothing. */
  push(id: number): string {
    if (!this.#tokenizer.hasText(id)) return '';
    this.#window.push(id);
    const text = this.#tokenizer.decode(this.#window);
    const waiting = text.endsWith(replacementCharacter) ? 1 : 0;
    const piece = text.slice(this.#given, text.length - waiting);
    this.#given = Math.max(this.#given, text.length - waiting);
    if (waiting === 0) this.#keep(1, 0);
    else if (this.#window.length > windowIdsMax) this.#keep(windowIdsKept, waiting);
    return piece;
  }

  /** No more ids come: returns what was waiting. */
  flush(): string {
    const rest = this.#tokenizer.decode(this.#window).slice(this.#given);
    this.#given += rest.length;
    return rest;
  }

  #keep(count: number, waiting: number): void {
    this.#window = this.#window.slice(-count);
    this.#given = this.#tokenizer.decode(this.#window).length - waiting;
  }
}
