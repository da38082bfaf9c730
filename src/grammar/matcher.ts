import { Foreteller } from './foreteller.ts';
import type { WrittenGrammar } from './marks.ts';
import { Recent } from './recent.ts';
import { markTokens, TextCounter } from './text-counter.ts';
import { TokenTexts } from './token-texts.ts';
import { bytesOf, sizeOf, tokensOf, type Vocabulary } from './vocabulary.ts';
import {
  type CompiledGrammar,
  type GrammarCompiler,
  type GrammarMatcher,
  type LoadedXGrammar,
  loadXGrammar,
} from './xgrammar.ts';

/** Which tokens may come next: one bit each, from the lowest bit of the first word on. */
export interface Choice {
  mask: Int32Array;
  /** Nothing may come any more but the end. */
  complete: boolean;
  /** How the answer goes on where there is no choice, as far as is of use; see Foreteller. */
  foretold: string;
}

/** Grammars that stay ready: an appliance is asked for the same few shapes again and again. */
export const readyMax = 8;

/**
 * XGrammar for one vocabulary: grammars in, masks out, one answer at a time.
 *
 * It takes its time to compile and blocks while it does, so it is used in a thread of its own.
 */
export class Matcher {
  readonly #vocabulary: Vocabulary;
  readonly #stopIds: ReadonlySet<number>;
  #loaded: LoadedXGrammar | undefined;
  #compiler: GrammarCompiler | undefined;
  #matcher: GrammarMatcher | undefined;
  #counter: TextCounter | undefined;
  #texts: TokenTexts | undefined;
  readonly #compiled = new Recent<CompiledGrammar>(readyMax, (compiled) => compiled.dispose());
  readonly #foreteller = new Foreteller();

  constructor(vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
    this.#stopIds = new Set(vocabulary.stopIds);
  }

  get memoryBytes(): number {
    return this.#loaded?.memoryBytes() ?? 0;
  }

  /** Begins an answer that follows the grammar. */
  async open({ ebnf, lengths }: WrittenGrammar): Promise<Choice> {
    this.#matcher?.dispose();
    this.#matcher = undefined;
    this.#counter = undefined;
    this.#foreteller.begin();
    if (lengths.length > 0) {
      this.#texts ??= new TokenTexts(this.#vocabulary);
      this.#counter = new TextCounter(this.#texts, lengths, sizeOf(this.#vocabulary));
    }
    const compiled = this.#compiled.get(ebnf) ?? (await this.#compile(ebnf));
    this.#loaded ??= loadXGrammar();
    this.#matcher = await this.#loaded.library.GrammarMatcher.createGrammarMatcher(compiled);
    return this.#choice(this.#matcher);
  }

  /** Takes the token that was chosen, one that the last choice allowed. */
  async accept(id: number): Promise<Choice> {
    if (this.#matcher === undefined) throw new Error('no grammar is open');
    if (!this.#matcher.acceptToken(id))
      throw new Error('the grammar does not accept a token that it allowed');
    this.#counter?.accept(id);
    this.#foreteller.accept(bytesOf(this.#vocabulary, id));
    return this.#choice(this.#matcher);
  }

  async #compile(ebnf: string): Promise<CompiledGrammar> {
    this.#loaded ??= loadXGrammar();
    const { library } = this.#loaded;
    this.#compiler ??= await this.#makeCompiler();
    const grammar = await library.Grammar.fromEBNF(ebnf);
    const compiled = await this.#compiler.compileGrammar(grammar);
    grammar.dispose();
    return this.#compiled.add(ebnf, compiled);
  }

  async #makeCompiler(): Promise<GrammarCompiler> {
    const { TokenizerInfo, GrammarCompiler } = this.#loaded!.library;
    const { stopIds } = this.#vocabulary;
    // It takes bytes where its types say text: a token may be half a character.
    const tokens = [...tokensOf(this.#vocabulary), ...markTokens] as unknown as string[];
    const info = await TokenizerInfo.createTokenizerInfo(tokens, 'raw', false, tokens.length, stopIds);
    return GrammarCompiler.createGrammarCompiler(info, false);
  }

  async #choice(matcher: GrammarMatcher): Promise<Choice> {
    const marked = await matcher.getNextTokenBitmask();
    this.#counter?.restrict(marked);
    const mask = withoutMarks(marked, sizeOf(this.#vocabulary));
    const complete = this.#onlyEnds(mask);
    return { mask, complete, foretold: complete ? '' : this.#foreteller.next(matcher) };
  }

  #onlyEnds(mask: Int32Array): boolean {
    return mask.every((word, i) => {
      let rest = word;
      for (let bit = 0; rest !== 0 && bit < 32; bit++) {
        if ((rest & (1 << bit)) !== 0 && !this.#stopIds.has(i * 32 + bit)) return false;
        rest &= ~(1 << bit);
      }
      return true;
    });
  }
}

function withoutMarks(marked: Int32Array, size: number): Int32Array {
  const mask = marked.slice(0, Math.ceil(size / 32));
  if (size % 32 !== 0) mask[mask.length - 1]! &= ~(-1 << (size % 32));
  return mask;
}
