import type { State } from './automaton.ts';

/** A text that stands as it is. */
export function literal(text: string): string {
  return `"${[...text].map(quoted).join('')}"`;
}

function quoted(character: string): string {
  if (/[A-Za-z0-9 _:,.{}-]/.test(character)) return character;
  const code = character.codePointAt(0) ?? 0;
  return code > 0xffff ? `\\U${hex(code, 8)}` : `\\u${hex(code, 4)}`;
}

/** One of these bytes. XGrammar takes a class of one for a character; given twice, it stays a byte. */
export function byteClass(ranges: State['steps'][number]['bytes']): string {
  const text = ranges.map(([first, last]) => (first === last ? byte(first) : `${byte(first)}-${byte(last)}`));
  const single = ranges.length === 1 && ranges[0]?.[0] === ranges[0]?.[1];
  return `[${text.join('')}${single ? text[0] : ''}]`;
}

function byte(value: number): string {
  return `\\x${hex(value, 2)}`;
}

function hex(code: number, length: number): string {
  return code.toString(16).toUpperCase().padStart(length, '0');
}
