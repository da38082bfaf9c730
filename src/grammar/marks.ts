/** How many characters a text may have, in code points; null for no limit. */
export interface TextLength {
  min: number;
  max: number | null;
}

/** A grammar, and the texts in it whose characters are counted beside it, by their marks. */
export interface WrittenGrammar {
  ebnf: string;
  lengths: TextLength[];
}

/** Different lengths in one schema; a text of one more is counted by the grammar, which takes longer. */
export const marksMax = 64;

/** No byte of JSON, so that no text of a grammar begins with it. */
export const markByte = 0x01;

/**
 * A token that no model has. A grammar allows it where the text of this number begins: so it can be asked,
 * by its own mask, where it is.
 */
export function markOf(number: number): Uint8Array {
  return Uint8Array.of(markByte, 0x20 + number);
}
