import { markByte } from './marks.ts';
import { tokensOf, type Vocabulary } from './vocabulary.ts';

/** Where a JSON text stands between two tokens: outside a string, inside one, or behind a backslash inside one. */
export type Place = 'outside' | 'inside' | 'escaped';

const quote = 0x22;
const backslash = 0x5c;

/** What there is to know of a vocabulary for counting the characters of a JSON string; once for all grammars. */
export class TokenTexts {
  readonly #tokens: readonly Uint8Array[];
  /** Characters that begin in a token before its first quote. */
  readonly #lengths: Uint16Array;
  readonly #longestFirst: Uint32Array;
  /** How many tokens are longer than 0, 1, 2 … characters. */
  readonly #longer: number[];
  readonly #closing: number[] = [];
  /** Tokens that open a string and go on in it. */
  readonly #goingOn: Record<Place, number[]> = { outside: [], inside: [], escaped: [] };
  /** Tokens that could be the beginning of a mark. */
  readonly #marking: number[] = [];

  constructor(vocabulary: Vocabulary) {
    this.#tokens = tokensOf(vocabulary);
    this.#lengths = Uint16Array.from(this.#tokens, charactersBeforeQuote);
    this.#longestFirst = Uint32Array.from(this.#tokens.keys()).sort(
      (a, b) => this.#lengths[b]! - this.#lengths[a]!,
    );
    const longest = this.#lengths[this.#longestFirst[0] ?? 0] ?? 0;
    this.#longer = new Array<number>(longest).fill(0);
    for (const length of this.#lengths) for (let less = 0; less < length; less++) this.#longer[less]!++;
    for (const [id, bytes] of this.#tokens.entries()) {
      if (bytes[0] === markByte) this.#marking.push(id);
      if (!bytes.includes(quote)) continue;
      this.#closing.push(id);
      for (const place of ['outside', 'inside', 'escaped'] as const)
        if (walk(bytes, place).wentOn) this.#goingOn[place].push(id);
    }
  }

  lengthOf(id: number): number {
    return this.#lengths[id] ?? 0;
  }

  /** Where a token leads from a place. */
  after(place: Place, id: number): { place: Place; opened: boolean; closed: boolean } {
    return walk(this.#tokens[id] ?? new Uint8Array(), place);
  }

  /** Tokens that are longer than so many characters: nearly all of the vocabulary where few may still come. */
  longerThan(length: number): Uint32Array {
    return this.#longestFirst.subarray(0, this.#longer[length] ?? 0);
  }

  closingBefore(length: number): number[] {
    return length <= 0 ? [] : this.#closing.filter((id) => this.#lengths[id]! < length);
  }

  goingOn(place: Place): number[] {
    return this.#goingOn[place];
  }

  get marking(): number[] {
    return this.#marking;
  }
}

/** Continuation bytes belong to a character that began before. */
function charactersBeforeQuote(bytes: Uint8Array): number {
  let characters = 0;
  for (const byte of bytes) {
    if (byte === quote) break;
    if ((byte & 0xc0) !== 0x80) characters++;
  }
  return characters;
}

function walk(bytes: Uint8Array, start: Place) {
  let place = start;
  let opened = false;
  let closed = false;
  let wentOn = false;
  for (const byte of bytes) {
    wentOn ||= opened && place !== 'outside';
    if (place === 'escaped') place = 'inside';
    else if (place === 'inside' && byte === backslash) place = 'escaped';
    else if (byte === quote) {
      if (place === 'inside') closed = true;
      else opened = true;
      place = place === 'inside' ? 'outside' : 'inside';
    }
  }
  return { place, opened, closed, wentOn };
}
