import type { GrammarMatcher } from './xgrammar.ts';

/** In bytes: what is further ahead is of no use yet. */
const aheadMax = 64;
/** A few tokens; with less, it is looked whether there is more. */
const aheadMin = 24;
/** As much of the answer as says where it is: a quote, a space, and what they stand behind. */
const behindBytes = 3;

const nameEnd = '":';
/** The end of a name, or of a member or an item. Within a text they are rare. */
const beforeOpening = /(":|["\]}],)$/;
/** A quote that closes a text. */
const closing = /[^:,[{ ] ?"$/;
/** What a name or a value may begin with; a digit leaves open how it goes on. */
const openings = ['"', '{', '[', '1'];

/**
 * Says how an answer goes on where its grammar leaves no choice: a member's name, quotes, the rest of a word.
 *
 * Some of it is a guess, to be checked like any other. Behind a colon and a comma a grammar leaves it open whether a
 * space is written: it is taken to be as it was behind the last name. Where an object may end or go on, it goes on.
 *
 * Texts are kept as bytes, one character each, because a token may be half a character.
 */
export class Foreteller {
  #ahead = '';
  #behind = '';
  /** Whether the last name had a space behind its colon; over answers, because it is the model's habit. */
  #likesSpace = false;

  /** Begins an answer. */
  begin(): void {
    this.#ahead = '';
    this.#behind = '';
  }

  /** Takes what the answer goes on with. */
  accept(bytes: Uint8Array): void {
    const text = Buffer.from(bytes).toString('latin1');
    this.#ahead = this.#ahead.startsWith(text) ? this.#ahead.slice(text.length) : '';
    const written = this.#behind + text;
    const [, after] = written.slice(written.lastIndexOf(nameEnd)).split(nameEnd);
    if (after) this.#likesSpace = after.startsWith(' ');
    this.#behind = written.slice(-behindBytes);
  }

  /** How the answer goes on, as far as there is no choice and it is of use; the matcher is left where it is. */
  next(matcher: GrammarMatcher): string {
    if (this.#ahead.length < aheadMin) this.#ahead = this.#look(matcher);
    return Buffer.from(this.#ahead.slice(0, aheadMax), 'latin1').toString();
  }

  #look(matcher: GrammarMatcher): string {
    let ahead = '';
    let steps = 0;
    while (ahead.length < aheadMax) {
      const text = forcedText(matcher) || this.#guess(matcher, ahead);
      if (text === '' || !matcher._acceptString(text)) break;
      steps++;
      ahead += Buffer.from(text).toString('latin1');
    }
    if (steps > 0) matcher.rollBack(steps);
    return ahead;
  }

  /** Where there is a choice, what is nearly always chosen; the empty text where nothing is. */
  #guess(matcher: GrammarMatcher, ahead: string): string {
    const written = this.#behind + ahead;
    if (beforeOpening.test(written)) {
      const space = this.#likesSpace ? ' ' : '';
      const [opening = '1', ...others] = openings.filter((one) => allows(matcher, space + one));
      return others.length > 0 || opening === '1' ? '' : space + opening;
    }
    // Of what was not foretold it is not known whether a quote in it is one of a text.
    return ahead !== '' && closing.test(written) && allows(matcher, ',') ? ',' : '';
  }
}

/** Where it ends within a character, the library gives another one for that. */
function forcedText(matcher: GrammarMatcher): string {
  const text = matcher.findJumpForwardString();
  return text === '' || allows(matcher, text) ? text : text.slice(0, -1);
}

function allows(matcher: GrammarMatcher, text: string): boolean {
  const isAllowed = matcher._acceptString(text);
  if (isAllowed) matcher.rollBack(1);
  return isAllowed;
}
