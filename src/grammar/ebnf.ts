import type { Member, Pattern, ReadSchema, Shape } from '../contract/schema/shape.ts';
import { integerDefault } from '../contract/schema/shape.ts';
import { beginApart, withoutCovered } from './alternatives.ts';
import { automatonOf, type State } from './automaton.ts';
import { markOf, marksMax, type TextLength, type WrittenGrammar } from './marks.ts';
import { integersBetween, numbersBetween } from './numbers.ts';
import {
  anyInteger,
  anyNumber,
  anyText,
  choice,
  plainCharacter,
  quoted,
  repeat,
  sequence,
  spelled,
  text,
} from './pattern.ts';
import { byteClass, literal } from './terminals.ts';

/**
 * Writes a schema as a grammar of its JSON texts, in the EBNF that XGrammar reads.
 *
 * The texts are compact, with a space after a comma or a colon where the model likes one: each token costs
 * time on a board, and a model that may write white space without end sometimes does. Members come in the
 * order of the schema. Numbers are those that JavaScript reads as what is written. XGrammar's own
 * translation of JSON schemas is not used: it lets through what the schema forbids (see ARCHITECTURE.md).
 *
 * The characters of a text are not counted by the grammar, which has a mark where such a text begins (see
 * TextCounter): but where the text may also be another alternative of a union, which a mark does not say.
 *
 * @throws {SlmdError} `schema_unsupported` when a text of the schema has too many states
 */
export function grammarOf({ root, definitions }: ReadSchema): WrittenGrammar {
  return new Writer(definitions).write(root);
}

const space = '" "?';
const comma = `"," ${space}`;

class Writer {
  readonly #definitions: ReadonlyMap<string, Shape>;
  readonly #pointers = new Map<string, string>();
  readonly #rules = new Map<string, string>();
  readonly #names = new Map<string, string>();
  readonly #terminals = new Map<Pattern, string>();
  readonly #rests = new Map<string, Pattern>();
  readonly #lengths: TextLength[] = [];
  /** In an alternative that begins like another one of its union. */
  #isUncertain = false;

  constructor(definitions: ReadonlyMap<string, Shape>) {
    this.#definitions = definitions;
  }

  write(root: Shape): WrittenGrammar {
    this.#rules.set('root', this.#term(root));
    const ebnf = [...this.#rules].map(([name, body]) => `${name} ::= ${body}\n`).join('');
    return { ebnf, lengths: this.#lengths };
  }

  /** An expression that can stand anywhere in a sequence. */
  #term(shape: Shape): string {
    switch (shape.kind) {
      case 'any':
        return this.#any();
      case 'null':
        return '"null"';
      case 'boolean':
        return this.#rule('"true" | "false"');
      case 'ref':
        return this.#definition(shape.pointer);
      case 'union':
        return this.#rule(this.#alternatives(shape.of));
      case 'array':
        return this.#rule(this.#array(shape.items, shape.min, shape.max));
      case 'tuple':
        return this.#rule(`"[" ${shape.items.map((item) => this.#term(item)).join(` ${comma} `)} "]"`);
      case 'object':
        return this.#rule(`"{" ${this.#members(shape.members)} "}"`);
      case 'map':
        return this.#rule(this.#map(this.#term(shape.values)));
      case 'string':
        return this.#text(shape, plainCharacter);
      case 'pattern':
        return this.#pattern(shape.pattern);
      default:
        return this.#terminal(patternOf(shape));
    }
  }

  #alternatives(all: readonly Shape[]): string {
    const around = this.#isUncertain;
    const of = withoutCovered(all);
    const terms = of.map((one) => {
      const isApart = of.every((other) => other === one || beginApart(one, other, this.#definitions));
      this.#isUncertain = around || !isApart;
      return this.#term(one);
    });
    this.#isUncertain = around;
    return terms.join(' | ');
  }

  /** So many characters of one kind are counted as any are; other patterns are spelled out. */
  #pattern(pattern: Pattern): string {
    const { of, min, max } = pattern.kind === 'repeat' ? pattern : { of: null, min: 0, max: null };
    const characters = of?.kind === 'characters' ? spelled(of) : null;
    if (characters?.kind === 'characters' && (min > 0 || max !== null))
      return this.#text({ min, max }, characters);
    return this.#terminal(quoted(spelled(pattern)));
  }

  /** A text of these characters, which need no escapes. */
  #text({ min, max }: TextLength, characters: Pattern): string {
    if (min === 0 && max === null) return this.#terminal(anyText);
    const known = this.#lengths.findIndex((length) => length.min === min && length.max === max);
    const number = known === -1 ? this.#lengths.length : known;
    if (this.#isUncertain || number === marksMax)
      // It has no escapes: each would be one more thing to count.
      return this.#terminal(quoted(repeat(characters, min, max)));
    this.#lengths[number] = { min, max };
    const mark = [...markOf(number)].map((byte) => byteClass([[byte, byte]])).join(' ');
    const begun = this.#rule(`${mark} | ${this.#rest(characters)}`);
    return this.#rule(`${literal('"')} ${begun}`);
  }

  #any(): string {
    if (!this.#rules.has('any')) {
      this.#rules.set('any', '');
      const array = this.#rule(this.#array({ kind: 'any' }, 0, null));
      const object = this.#rule(this.#map('any'));
      const scalars = [this.#terminal(anyText), this.#terminal(anyNumber), '"true" | "false" | "null"'];
      this.#rules.set('any', [...scalars, array, object].join(' | '));
    }
    return 'any';
  }

  /** Any number of these characters, behind the quote that opens their text: one for all lengths. */
  #rest(characters: Pattern): string {
    const key = JSON.stringify(characters);
    const rest = this.#rests.get(key) ?? sequence(repeat(characters, 0, null), text('"'));
    this.#rests.set(key, rest);
    return this.#terminal(rest);
  }

  #array(items: Shape, min: number, max: number | null): string {
    if (max === 0) return '"[" "]"';
    const item = this.#term(items);
    const more = max === 1 ? '' : ` (${comma} ${item})${times(Math.max(0, min - 1), max && max - 1)}`;
    const filled = `"[" ${item}${more} "]"`;
    return min === 0 ? `"[" "]" | ${filled}` : filled;
  }

  #map(values: string): string {
    const member = this.#rule(`${this.#terminal(anyText)} ":" ${space} ${values}`);
    return `"{" "}" | "{" ${member} (${comma} ${member})* "}"`;
  }

  /** The members that are not required may be left out, and the first that is written has no comma. */
  #members(members: readonly Member[]): string {
    if (members.length === 0) return '';
    /** What may follow at each member, once another has been written. */
    const rest = [...members.keys(), members.length].map(() => '""');
    for (const [i, member] of [...members.entries()].reverse()) {
      const written = `${comma} ${this.#member(member)} ${rest[i + 1]}`;
      rest[i] = this.#rule(member.required ? written : `${written} | ${rest[i + 1]}`);
    }
    const starts: string[] = [];
    for (const [i, member] of members.entries()) {
      starts.push(`${this.#member(member)} ${rest[i + 1]}`);
      if (member.required) return `(${starts.join(' | ')})`;
    }
    return `(${starts.join(' | ')} | "")`;
  }

  #member({ name, shape }: Member): string {
    return this.#rule(`${literal(JSON.stringify(name))} ":" ${space} ${this.#term(shape)}`);
  }

  #definition(pointer: string): string {
    const key = `${this.#isUncertain} ${pointer}`;
    const known = this.#pointers.get(key);
    if (known !== undefined) return known;
    const name = `d${this.#pointers.size}`;
    this.#pointers.set(key, name);
    const shape = this.#definitions.get(pointer);
    if (shape === undefined) throw new Error(`a schema without its definition ${pointer}`);
    this.#rules.set(name, this.#term(shape));
    return name;
  }

  #terminal(pattern: Pattern): string {
    const known = this.#terminals.get(pattern);
    if (known !== undefined) return known;
    const name = this.#state(automatonOf(pattern), new Map());
    this.#terminals.set(pattern, name);
    return name;
  }

  /**
   * A rule for each state: what is decided by a byte is decided there. XGrammar merges what begins alike
   * inside one rule, and in 0.1.27 it sometimes merges too much.
   */
  #state(state: State, names: Map<State, string | null>): string {
    const known = names.get(state);
    if (known !== undefined && known !== null) return known;
    if (known === null) {
      // It is being written, and comes back to itself: it needs a name before its body is known.
      const name = `s${this.#names.size}`;
      this.#names.set(name, name);
      names.set(state, name);
      return name;
    }
    names.set(state, null);
    const steps = state.steps.map(({ bytes, to }) => `${byteClass(bytes)} ${this.#state(to, names)}`);
    const body = [...(state.accepting ? ['""'] : []), ...steps].join(' | ');
    const loop = names.get(state);
    const name = typeof loop === 'string' ? loop : this.#rule(body);
    this.#rules.set(name, body);
    names.set(state, name);
    return name;
  }

  /** Equal bodies are one rule. */
  #rule(body: string): string {
    const known = this.#names.get(body);
    if (known !== undefined) return known;
    const name = `r${this.#names.size}`;
    this.#names.set(body, name);
    this.#rules.set(name, body);
    return name;
  }
}

/** The JSON texts of a value that has no others inside it. */
function patternOf(shape: Shape): Pattern {
  switch (shape.kind) {
    case 'integer':
      if (shape.min === -integerDefault && shape.max === integerDefault) return anyInteger;
      return integersBetween(BigInt(shape.min), BigInt(shape.max));
    case 'number':
      return shape.min === null && shape.max === null ? anyNumber : numbersBetween(shape.min, shape.max);
    case 'literals':
      return choice(...shape.values.map((value) => text(JSON.stringify(value))));
    default:
      throw new Error(`${shape.kind} is not a single text`);
  }
}

function times(min: number, max: number | null): string {
  if (min === 0 && max === null) return '*';
  return `{${min},${max ?? ''}}`;
}
