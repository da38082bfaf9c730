import { readSchema } from '../../src/contract/schema/read.ts';
import { grammarOf } from '../../src/grammar/ebnf.ts';
import type { WrittenGrammar } from '../../src/grammar/marks.ts';
import { type Choice, Matcher } from '../../src/grammar/matcher.ts';
import { vocabularyOf } from '../../src/grammar/vocabulary.ts';

const end = 256;

/** A vocabulary in which every byte is a token: whatever a grammar allows can be written. */
export class GrammarWalk {
  readonly #matcher = new Matcher(
    vocabularyOf(end + 1, (id) => (id < end ? Uint8Array.of(id) : undefined), new Set([end])),
  );

  /** Whether the schema's grammar allows exactly this text, and then the end. */
  async allows(schema: unknown, text: string): Promise<boolean> {
    const choice = await this.#after(schema, text);
    return choice !== null && has(choice, end);
  }

  /** Whether a text of the schema may begin so. */
  async begins(schema: unknown, text: string): Promise<boolean> {
    return (await this.#after(schema, text)) !== null;
  }

  /** How the schema's grammar foretells that a text goes on. */
  async foretold(schema: unknown, text: string): Promise<string | undefined> {
    return (await this.#after(schema, text))?.foretold;
  }

  async #after(schema: unknown, text: string): Promise<Choice | null> {
    let choice = await this.#matcher.open(grammar(schema));
    for (const byte of Buffer.from(text)) {
      if (!has(choice, byte)) return null;
      choice = await this.#matcher.accept(byte);
    }
    return choice;
  }

  /** A random text of the schema; null where it did not come to an end within `bytesMax`. */
  async text(schema: unknown, random: () => number, bytesMax: number): Promise<string | null> {
    let choice = await this.#matcher.open(grammar(schema));
    const bytes: number[] = [];
    while (!choice.complete) {
      const allowed = [...Array(end + 1).keys()].filter((id) => has(choice, id));
      if (allowed.length === 0) throw new Error(`no way on after ${Buffer.from(bytes)}`);
      const id = leaning(allowed, random);
      if (id === end) break;
      bytes.push(id);
      if (bytes.length > bytesMax) return null;
      choice = await this.#matcher.accept(id);
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(bytes));
  }
}

/** Leans towards what closes, or no text would ever end. */
function leaning(allowed: readonly number[], random: () => number): number {
  const closing = allowed.filter((id) => id === end || '"]}'.includes(String.fromCharCode(id)));
  const from = closing.length > 0 && random() < 0.3 ? closing : allowed;
  return from[Math.floor(random() * from.length)] as number;
}

function has({ mask }: Choice, id: number): boolean {
  return (mask[id >> 5]! & (1 << (id & 31))) !== 0;
}

function grammar(schema: unknown): WrittenGrammar {
  const read = readSchema(schema);
  if (!('root' in read)) throw new Error(`${read.path}: ${read.reason}`);
  return grammarOf(read);
}
