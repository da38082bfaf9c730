import type { CharacterRange, Pattern } from '../contract/schema/shape.ts';

/** Patterns of JSON text, put together from smaller ones. */

export function text(characters: string): Pattern {
  return sequence(...[...characters].map((one) => charactersIn([one.codePointAt(0)!, one.codePointAt(0)!])));
}

export function charactersIn(...ranges: CharacterRange[]): Pattern {
  return { kind: 'characters', ranges };
}

export function sequence(...of: Pattern[]): Pattern {
  return { kind: 'sequence', of };
}

export function choice(...of: Pattern[]): Pattern {
  return { kind: 'choice', of };
}

export function repeat(of: Pattern, min: number, max: number | null): Pattern {
  return { kind: 'repeat', of, min, max };
}

/** What JSON allows in a string without an escape (RFC 8259 §7); halves of UTF-16 pairs have no UTF-8. */
const unescaped: readonly CharacterRange[] = [
  [0x20, 0x21],
  [0x23, 0x5b],
  [0x5d, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** Any character that stands for itself in a JSON string. */
export const plainCharacter = charactersIn(...unescaped);

const digit = charactersIn([0x30, 0x39]);
const hex = charactersIn([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);
const d = charactersIn([0x44, 0x44], [0x64, 0x64]);

/** A code point that is escaped: alone, or as the two halves that UTF-16 makes of it. */
const escaped = choice(
  ...[...'"\\/bfnrt'].map(text),
  sequence(
    text('u'),
    charactersIn([0x30, 0x39], [0x41, 0x43], [0x45, 0x46], [0x61, 0x63], [0x65, 0x66]),
    hex,
    hex,
    hex,
  ),
  sequence(text('u'), d, charactersIn([0x30, 0x37]), hex, hex),
  sequence(
    text('u'),
    d,
    charactersIn([0x38, 0x39], [0x41, 0x42], [0x61, 0x62]),
    hex,
    hex,
    text('\\u'),
    d,
    charactersIn([0x43, 0x46], [0x63, 0x66]),
    hex,
    hex,
  ),
);

/** A JSON string of any length. */
export const anyText = quoted(repeat(choice(plainCharacter, sequence(text('\\'), escaped)), 0, null));

/** Digits that JavaScript reads exactly. */
const whole = choice(text('0'), sequence(charactersIn([0x31, 0x39]), repeat(digit, 0, 14)));

/** Minus zero is left out: it is not an integer that anybody means. */
export const anyInteger = choice(
  text('0'),
  sequence(repeat(text('-'), 0, 1), charactersIn([0x31, 0x39]), repeat(digit, 0, 14)),
);

/** A number that is finite in JavaScript, however it is written. */
export const anyNumber = sequence(
  repeat(text('-'), 0, 1),
  whole,
  repeat(sequence(text('.'), repeat(digit, 1, 15)), 0, 1),
  repeat(
    sequence(
      charactersIn([0x45, 0x45], [0x65, 0x65]),
      repeat(choice(text('+'), text('-')), 0, 1),
      repeat(digit, 1, 2),
    ),
    0,
    1,
  ),
);

export function quoted(content: Pattern): Pattern {
  return sequence(text('"'), content, text('"'));
}

/**
 * The JSON that spells what a pattern matches. Of a class, the characters that stand for themselves are
 * taken; only where there is none, those that need an escape.
 */
export function spelled(pattern: Pattern): Pattern {
  switch (pattern.kind) {
    case 'characters': {
      const plain = pattern.ranges.flatMap(([first, last]) =>
        unescaped
          .map(([from, to]) => [Math.max(first, from), Math.min(last, to)] as const)
          .filter(([from, to]) => from <= to),
      );
      return plain.length > 0 ? charactersIn(...plain) : escapesOf(pattern.ranges);
    }
    case 'repeat':
      return { ...pattern, of: spelled(pattern.of) };
    default:
      return { ...pattern, of: pattern.of.map(spelled) };
  }
}

/** There are 34 of them: the control characters, the quote and the backslash. */
function escapesOf(ranges: readonly CharacterRange[]): Pattern {
  const codes = [...Array(0x80).keys()].filter((code) =>
    ranges.some(([from, to]) => from <= code && code <= to),
  );
  return choice(...codes.map((code) => text(JSON.stringify(String.fromCharCode(code)).slice(1, -1))));
}
