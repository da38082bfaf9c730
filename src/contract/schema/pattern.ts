import { schemaBounds } from './bounds.ts';
import { SchemaRefusal } from './refusal.ts';
import type { CharacterRange, Pattern } from './shape.ts';

/** Code points that a JSON string may hold as they are, but for the quote and the backslash. */
const lastCodePoint = 0x10ffff;

const digits: CharacterRange[] = [[0x30, 0x39]];
const wordCharacters: CharacterRange[] = [
  [0x30, 0x39],
  [0x41, 0x5a],
  [0x5f, 0x5f],
  [0x61, 0x7a],
];
/** Of all white space a JSON string may hold the space alone as it is. */
const space: CharacterRange[] = [[0x20, 0x20]];
const everySpace: CharacterRange[] = [
  [0x09, 0x0d],
  [0x20, 0x20],
  [0xa0, 0xa0],
  [0x1680, 0x1680],
  [0x2000, 0x200a],
  [0x2028, 0x2029],
  [0x202f, 0x202f],
  [0x205f, 0x205f],
  [0x3000, 0x3000],
  [0xfeff, 0xfeff],
];
const classes: Record<string, CharacterRange[]> = {
  d: digits,
  D: complement(digits),
  w: wordCharacters,
  W: complement(wordCharacters),
  s: space,
  S: complement(everySpace),
};
const controls: Record<string, number> = { t: 0x09, n: 0x0a, v: 0x0b, f: 0x0c, r: 0x0d };

/**
 * Reads the regular expression of `pattern`: what is regular in it, and no more.
 *
 * JSON Schema looks for a match anywhere in a text. Here the whole text is the match, which is stricter:
 * what follows the pattern is valid, and an answer is not padded with whatever comes to mind.
 *
 * @throws {SchemaRefusal} at `path`
 */
export function readPattern(source: string, path: string): Pattern {
  try {
    new RegExp(source, 'u');
  } catch {
    throw new SchemaRefusal(path, 'is not a regular expression');
  }
  const pattern = new PatternReader(source, path).whole();
  if (charactersOf(pattern) <= schemaBounds.pattern_characters_max) return pattern;
  const reason = `the regular expression repeats to more than ${schemaBounds.pattern_characters_max} characters`;
  throw new SchemaRefusal(path, reason);
}

function charactersOf(pattern: Pattern): number {
  if (pattern.kind === 'characters') return 1;
  if (pattern.kind === 'repeat') return charactersOf(pattern.of) * Math.max(1, pattern.max ?? pattern.min);
  return pattern.of.reduce((sum, one) => sum + charactersOf(one), 0);
}

class PatternReader {
  readonly #characters: string[];
  readonly #path: string;
  #at = 0;
  #depth = 0;

  constructor(source: string, path: string) {
    this.#characters = [...source];
    this.#path = path;
  }

  whole(): Pattern {
    const pattern = this.#choice();
    if (this.#at < this.#characters.length) throw this.#refusal();
    return pattern;
  }

  #choice(): Pattern {
    const of = [this.#sequence()];
    while (this.#take('|')) of.push(this.#sequence());
    return of.length === 1 ? of[0]! : { kind: 'choice', of };
  }

  #sequence(): Pattern {
    const of: Pattern[] = [];
    // An anchor says what is true of the whole text anyway, at its ends; elsewhere it is refused.
    if (this.#depth === 0) this.#take('^');
    while (this.#peek() !== undefined && this.#peek() !== '|' && this.#peek() !== ')') {
      if (this.#depth === 0 && this.#peek() === '$' && [undefined, '|'].includes(this.#peek(1))) this.#at++;
      else of.push(this.#repeated());
    }
    return of.length === 1 ? of[0]! : { kind: 'sequence', of };
  }

  #repeated(): Pattern {
    const of = this.#atom();
    const times = this.#times();
    if (times === null) return of;
    this.#take('?'); // A lazy repeat matches the same texts.
    if (Math.max(times.min, times.max ?? 0) > schemaBounds.repeat_max)
      throw this.#refusal(`repeats more than ${schemaBounds.repeat_max} times`);
    return { kind: 'repeat', of, ...times };
  }

  #times(): { min: number; max: number | null } | null {
    if (this.#take('*')) return { min: 0, max: null };
    if (this.#take('+')) return { min: 1, max: null };
    if (this.#take('?')) return { min: 0, max: 1 };
    const rest = this.#characters.slice(this.#at, this.#at + 24).join('');
    const braces = /^\{(\d+)(,(\d*))?\}/.exec(rest);
    if (braces === null) return null;
    this.#at += braces[0].length;
    const min = Number(braces[1]);
    if (braces[2] === undefined) return { min, max: min };
    return { min, max: braces[3] === '' ? null : Number(braces[3]) };
  }

  #atom(): Pattern {
    const character = this.#next();
    if (character === '(') return this.#group();
    if (character === '[') return { kind: 'characters', ranges: this.#class() };
    if (character === '.') return { kind: 'characters', ranges: complement(controlsOf('\n\r\u2028\u2029')) };
    if (character === '\\') return { kind: 'characters', ranges: this.#escape() };
    if ('^$*+?{}]|)'.includes(character)) throw this.#refusal();
    return { kind: 'characters', ranges: one(character) };
  }

  #group(): Pattern {
    if (this.#take('?') && !this.#take(':')) throw this.#refusal('looks around or names a group');
    if (++this.#depth > schemaBounds.depth_max) throw this.#refusal('nests too deep');
    const inner = this.#choice();
    if (!this.#take(')')) throw this.#refusal();
    this.#depth--;
    return inner;
  }

  #class(): CharacterRange[] {
    const negated = this.#take('^');
    const ranges: CharacterRange[] = [];
    while (!this.#take(']')) {
      const from = this.#classMember();
      const first = from[0]?.[0] ?? 0;
      if (from.length === 1 && first === from[0]?.[1] && this.#peek() === '-' && this.#peek(1) !== ']') {
        this.#at++;
        ranges.push([first, this.#classMember()[0]?.[1] ?? first]);
      } else ranges.push(...from);
    }
    return negated ? complement(ranges) : ranges;
  }

  #classMember(): CharacterRange[] {
    const character = this.#next();
    return character === '\\' ? this.#escape() : one(character);
  }

  #escape(): CharacterRange[] {
    const character = this.#next();
    const ranges = classes[character];
    if (ranges !== undefined) return ranges;
    const control = controls[character];
    if (control !== undefined) return [[control, control]];
    if (character === 'u' || character === 'x') return this.#hexadecimal(character === 'u' ? 4 : 2);
    if (/[A-Za-z0-9]/.test(character)) throw this.#refusal(`has \\${character}`);
    return one(character);
  }

  #hexadecimal(length: number): CharacterRange[] {
    const text = this.#characters.slice(this.#at, this.#at + length).join('');
    if (!/^[0-9a-fA-F]+$/.test(text) || text.length !== length) throw this.#refusal('has \\u{…}');
    this.#at += length;
    const code = Number.parseInt(text, 16);
    return [[code, code]];
  }

  #peek(ahead = 0): string | undefined {
    return this.#characters[this.#at + ahead];
  }

  #next(): string {
    const character = this.#characters[this.#at++];
    if (character === undefined) throw this.#refusal();
    return character;
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#at++;
    return true;
  }

  #refusal(why = 'is not one that can be enforced'): SchemaRefusal {
    return new SchemaRefusal(this.#path, `the regular expression ${why}`);
  }
}

function one(character: string): CharacterRange[] {
  const code = character.codePointAt(0) ?? 0;
  return [[code, code]];
}

function controlsOf(text: string): CharacterRange[] {
  return [...text].flatMap(one);
}

function complement(ranges: readonly CharacterRange[]): CharacterRange[] {
  const rest: CharacterRange[] = [];
  let next = 0;
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    if (first > next) rest.push([next, first - 1]);
    next = Math.max(next, last + 1);
  }
  if (next <= lastCodePoint) rest.push([next, lastCodePoint]);
  return rest;
}
