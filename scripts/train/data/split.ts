// What training never sees. Phrasings are held out twice over: whole families of templates, and single
// variants out of families that are otherwise trained on. Values are held out as pairs, such as a device
// and a room. Everything is decided by the seed and the text itself, so that no list can drift.
import { hash } from './random.ts';

/** The share of families, of variants, of literals and of values that is held out. */
const familyShare = 0.1;
const variantShare = 0.08;
const literalShare = 0.15;
const valueShare = 0.12;

/** What is written as it stands, such as the notation of a reading or a polite opening. */
export interface Literals {
  trained: string[];
  heldOut: string[];
}

/** Templates by family; a family is one pattern with all its alternatives spelled out. */
export interface Phrasings {
  trained: string[][];
  heldOut: string[][];
}

export class Split {
  readonly seed: number;
  readonly #phrasings = new Map<string, Phrasings>();
  readonly #literals = new Map<string, Literals>();

  constructor(seed: number) {
    this.seed = seed;
  }

  /** Splits the patterns of one group, such as an action. Each group has held-out families of its own. */
  phrasings(group: string, patterns: readonly string[]): Phrasings {
    const known = this.#phrasings.get(group);
    if (known) return known;
    const families = this.#ranked(`family ${group}`, patterns).map(expand);
    const away = Math.max(1, Math.round(families.length * familyShare));
    const heldOut = families.slice(0, away);
    const rest = families.slice(away);
    for (const family of rest) {
      const variants = Math.round(family.length * variantShare);
      if (variants > 0) heldOut.push(this.#ranked(`variant ${group}`, family).slice(0, variants));
    }
    const forbidden = new Set(heldOut.flat());
    const trained = rest.map((family) => family.filter((template) => !forbidden.has(template)));
    const phrasings = { trained: trained.filter((family) => family.length > 0), heldOut };
    this.#phrasings.set(group, phrasings);
    return phrasings;
  }

  /** Splits texts that have no alternatives to spell out. */
  literals(group: string, items: readonly string[]): Literals {
    const known = this.#literals.get(group);
    if (known) return known;
    const ranked = this.#ranked(`literal ${group}`, items);
    const away = Math.max(1, Math.round(ranked.length * literalShare));
    const literals = { heldOut: ranked.slice(0, away), trained: ranked.slice(away) };
    this.#literals.set(group, literals);
    return literals;
  }

  /** Whether a value, such as `lamp bedroom` or `set_timer 42 minutes`, is kept from training. */
  isHeldOut(value: string): boolean {
    return hash(`${this.seed} value ${value}`) / 0x1_0000_0000 < valueShare;
  }

  #ranked(salt: string, items: readonly string[]): string[] {
    const rank = (item: string) => hash(`${this.seed} ${salt} ${item}`);
    return [...new Set(items)].sort((one, other) => rank(one) - rank(other));
  }
}

/** Spells out a pattern: `(turn|switch) {T} (on|)` has four templates. Alternatives may be nested. */
export function expand(pattern: string): string[] {
  const open = pattern.lastIndexOf('(');
  if (open < 0) return [...new Set([pattern.replace(/ {2,}/g, ' ').trim()])];
  const close = pattern.indexOf(')', open);
  if (close < 0) throw new Error(`no closing parenthesis in: ${pattern}`);
  const alternatives = pattern.slice(open + 1, close).split('|');
  const written = alternatives.flatMap((alternative) =>
    expand(pattern.slice(0, open) + alternative + pattern.slice(close + 1)),
  );
  return [...new Set(written)];
}
