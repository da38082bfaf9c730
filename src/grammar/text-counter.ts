import { markOf, marksMax, type TextLength } from './marks.ts';
import type { Place, TokenTexts } from './token-texts.ts';

/**
 * Counts the characters of texts with a bounded length, beside a grammar that does not.
 *
 * A grammar that counts has states for each character that may still come, and each of them costs a look at the
 * whole vocabulary; here it is a number. It is exact for three reasons. A bounded text has no escapes, so a quote
 * ends it. The grammar's mark says which text begins. And a token that goes on behind the quote which opens a
 * string is never allowed, so every text begins where a mask can be asked for its mark.
 */
export class TextCounter {
  readonly #texts: TokenTexts;
  readonly #lengths: readonly TextLength[];
  readonly #firstMark: number;
  #place: Place = 'outside';
  #isFresh = false;
  #length: TextLength | undefined;
  #count = 0;

  /** @param firstMark the id of the first mark; marks come after all tokens */
  constructor(texts: TokenTexts, lengths: readonly TextLength[], firstMark: number) {
    this.#texts = texts;
    this.#lengths = lengths;
    this.#firstMark = firstMark;
  }

  /** Takes a token that was allowed. */
  accept(id: number): void {
    const { place, opened, closed } = this.#texts.after(this.#place, id);
    this.#place = place;
    this.#isFresh = opened && place === 'inside';
    this.#count += this.#texts.lengthOf(id);
    if (closed) this.#length = undefined;
  }

  /** Takes out of a grammar's mask, which has the marks, the tokens that do not keep to the lengths. */
  restrict(mask: Int32Array): void {
    if (this.#isFresh) {
      this.#length = this.#lengths.find((_, number) => isSet(mask, this.#firstMark + number));
      this.#count = 0;
    }
    clear(mask, this.#texts.goingOn(this.#place));
    if (this.#length === undefined) return;
    const { min, max } = this.#length;
    clear(mask, this.#texts.marking);
    clear(mask, this.#texts.closingBefore(min - this.#count));
    if (max !== null) clear(mask, this.#texts.longerThan(max - this.#count));
  }
}

/** The tokens that stand for the marks, in order. */
export const markTokens = Array.from({ length: marksMax }, (_, number) => markOf(number));

function isSet(mask: Int32Array, id: number): boolean {
  return (mask[id >> 5]! & (1 << (id & 31))) !== 0;
}

function clear(mask: Int32Array, ids: ArrayLike<number>): void {
  for (let i = 0; i < ids.length; i++) mask[ids[i]! >> 5]! &= ~(1 << (ids[i]! & 31));
}
