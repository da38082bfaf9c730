/** What may come next: what followed where the last tokens stood before, or what a grammar foretells. */
export interface Draft {
  ids: readonly number[];
  /** How many of the last tokens stood before it there, too: 1 to `matchMax`; `byGrammar` of what is foretold. */
  match: number;
}

/** Where so many tokens are the same, more of them say nothing new. */
export const matchMax = 3;
/** The match of a draft that a grammar foretells. */
export const byGrammar = matchMax + 1;

/**
 * Looks for the last tokens further up, in the prompt or in what was generated, and proposes what followed
 * them there: the place where most of them agree, of several the last.
 *
 * @param most how many tokens are wanted, at least one
 */
export function draftOf(tokens: readonly number[], most: number): Draft | null {
  const end = tokens.length - 1;
  let best = -1;
  let match = 0;
  for (let at = end - 1; at >= 0 && match < matchMax; at--) {
    if (tokens[at] !== tokens[end]) continue;
    const agreeing = agreeingBefore(tokens, at, end);
    if (agreeing <= match) continue;
    best = at;
    match = agreeing;
  }
  return match === 0 ? null : { ids: tokens.slice(best + 1, best + 1 + most), match };
}

/** What a token ends with that nothing goes on behind: a foretold text that ends otherwise may end within one. */
const boundary = /[":{[]$/;

/**
 * The tokens of a text that a grammar foretells.
 *
 * @param most how many tokens are wanted, at least one
 */
export function foretoldDraft(text: string, encode: (text: string) => number[], most: number): Draft | null {
  const ids = text === '' ? [] : encode(text);
  const sure = boundary.test(text) ? ids : ids.slice(0, -1);
  return sure.length === 0 ? null : { ids: sure.slice(0, most), match: byGrammar };
}

/** How many tokens up to `at` are those up to `end`. */
function agreeingBefore(tokens: readonly number[], at: number, end: number): number {
  let agreeing = 1;
  while (agreeing < matchMax && agreeing <= at && tokens[at - agreeing] === tokens[end - agreeing])
    agreeing++;
  return agreeing;
}
