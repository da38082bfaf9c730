import type { CharacterRange } from '../contract/schema/shape.ts';

/** The last code points of one, two, three and four bytes. */
const lastOfLength = [0x7f, 0x7ff, 0xffff, 0x10ffff];

/**
 * The UTF-8 of all code points from `first` to `last`, as sequences of byte ranges; every combination of
 * bytes in a sequence is one of the code points. Neither may be half of a UTF-16 pair.
 */
export function utf8Ranges(first: number, last: number): CharacterRange[][] {
  for (const border of lastOfLength)
    if (first <= border && border < last)
      return [...utf8Ranges(first, border), ...utf8Ranges(border + 1, last)];
  for (let bits = 6; bits <= 18 && last > 0x7f; bits += 6) {
    const low = (1 << bits) - 1;
    if (first >> bits === last >> bits) continue;
    // Behind a first byte that is not the only one, the others must be free to be anything.
    if ((first & low) !== 0)
      return [...utf8Ranges(first, first | low), ...utf8Ranges((first | low) + 1, last)];
    if ((last & low) !== low)
      return [...utf8Ranges(first, (last & ~low) - 1), ...utf8Ranges(last & ~low, last)];
  }
  const [from, to] = [Buffer.from(String.fromCodePoint(first)), Buffer.from(String.fromCodePoint(last))];
  return [[...from].map((byte, i) => [byte, to[i]!] as const)];
}
