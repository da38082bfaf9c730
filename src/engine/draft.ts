/** What may come next, found where the last tokens stood before. */
export interface Draft {
  ids: readonly number[];
  /** How many of the last tokens stood before it there, too: 1 to `matchMax`. */
  match: number;
}

/** Where so many tokens are the same, more of them say nothing new. */
export const matchMax = 3;

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

/** How many tokens up to `at` are those up to `end`. */
function agreeingBefore(tokens: readonly number[], at: number, end: number): number {
  let agreeing = 1;
  while (agreeing < matchMax && agreeing <= at && tokens[at - agreeing] === tokens[end - agreeing])
    agreeing++;
  return agreeing;
}
