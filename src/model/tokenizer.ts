import { Tokenizer as HubTokenizer } from '@huggingface/tokenizers';
import { MergeRanks } from './merge-ranks.ts';
import { tokenBytes } from './token-bytes.ts';
import { type AddedToken, assertTokenizerFile } from './tokenizer-file.ts';

/** `tokenizer.json` and `tokenizer_config.json`, as parsed JSON. */
export interface TokenizerFiles {
  tokenizer: Record<string, unknown>;
  config: Record<string, unknown>;
}

/**
 * Text to ids and back, as the model was trained.
 *
 * Special tokens (those that `tokenizer.json` marks so) steer the model, so a requester must not be able
 * to write one. The library that does the work recognises them wherever they stand; here they are
 * recognised by `encode`, which can be told where not to, and everything between them is encoded by a
 * second tokenizer that shares the first one's vocabulary and knows no special token.
 */
export class Tokenizer {
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  readonly specialTokens: readonly string[];
  readonly #hub: HubTokenizer;
  readonly #plainFirst: HubTokenizer;
  readonly #plainLater: HubTokenizer;
  readonly #specials: ReadonlyMap<string, AddedToken>;
  readonly #specialIds: ReadonlySet<number>;
  /** Those of them that a requester must not be able to write. */
  readonly #steeringIds: ReadonlySet<number>;
  readonly #specialPattern: RegExp;
  readonly #addedIds: ReadonlySet<number>;
  readonly #bytesOfToken: (token: string) => Uint8Array;

  /** @throws when a file is broken, or describes a tokenizer that the library does not know */
  constructor({ tokenizer: given, config }: TokenizerFiles) {
    assertTokenizerFile(given);
    const tokenizer: Record<string, unknown> = {
      ...given,
      pre_tokenizer: digitsAsSplit(given.pre_tokenizer),
    };
    const added = (tokenizer.added_tokens ?? []) as AddedToken[];
    const specials = added.filter((token) => token.special === true && token.content !== '');
    this.bosToken = tokenText(config.bos_token);
    this.eosToken = tokenText(config.eos_token);
    this.specialTokens = specials.map((token) => token.content);
    this.#hub = openHub({ added_tokens: [], ...tokenizer }, config);
    keepByteOrderMarks(this.#hub.decoder);
    this.#plainFirst = withoutSpecials(tokenizer, config, this.#hub);
    this.#plainLater = withoutSpecials(prependOnlyFirst(tokenizer), config, this.#hub);
    this.#specials = new Map(specials.map((token) => [token.content, token]));
    // The unknown token stands for text; it is not a way to steer the model.
    const unknown = this.#hub.model?.unk_token_id;
    this.#specialIds = new Set(specials.map((token) => token.id));
    this.#steeringIds = new Set([...this.#specialIds].filter((id) => id !== unknown));
    this.#addedIds = new Set(added.map((token) => token.id));
    this.#bytesOfToken = tokenBytes(tokenizer.decoder);
    this.#specialPattern = anyOf(this.specialTokens);
  }

  idOf(token: string): number | undefined {
    return this.#hub.token_to_id(token);
  }

  /**
   * Encodes a rendered template: special tokens are recognised, unless `breaker` stands inside them.
   *
   * @param breaker a text that is taken out again before the rest is encoded
   */
  encode(text: string, breaker: string): number[] {
    const sections = splitSections(text, this.#specialPattern, this.#specials);
    return sections.flatMap((section, index) => {
      const special = this.#specials.get(section);
      if (special !== undefined) return [special.id];
      return this.#encodePlain(section.replaceAll(breaker, ''), index === 0);
    });
  }

  /** Encodes text in which nothing is special, between the tokens that begin and end every input. */
  encodeBare(text: string): number[] {
    const [before, after] = this.#frame();
    return [...before, ...this.#encodePlain(text, true), ...after];
  }

  /** Encodes a text that goes on behind another, in which nothing is special. */
  encodeWithin(text: string): number[] {
    return this.#encodePlain(text, false);
  }

  /** Whether an id takes part in text: special tokens and ids outside the vocabulary do not. */
  hasText(id: number): boolean {
    return !this.#specialIds.has(id) && this.#hub.id_to_token(id) !== undefined;
  }

  /** The text of those ids that take part in it. */
  decode(ids: readonly number[]): string {
    const textual = ids.filter((id) => this.hasText(id));
    if (textual.length === 0) return '';
    // Clean-up would change spaces that are already sent; what the model wrote is given as it wrote it.
    return this.#hub.decode(textual, { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  /** The bytes that an id adds to a text; undefined for added tokens, and for ids that no token has. */
  bytesOf(id: number): Uint8Array | undefined {
    const token = this.#addedIds.has(id) ? undefined : this.#hub.id_to_token(id);
    return token === undefined ? undefined : this.#bytesOfToken(token);
  }

  #encodePlain(text: string, first: boolean): number[] {
    if (text === '') return [];
    const plain = first ? this.#plainFirst : this.#plainLater;
    const ids: number[] = plain.encode(text, { add_special_tokens: false }).ids;
    if (!ids.some((id) => this.#steeringIds.has(id))) return ids;
    // A vocabulary may hold its special tokens as ordinary pieces too: break the first one up.
    const found = this.#specialPattern.exec(text);
    this.#specialPattern.lastIndex = 0;
    if (found === null || found[0].length < 2) return ids.filter((id) => !this.#steeringIds.has(id));
    const cut = found.index + 1;
    return [...this.#encodePlain(text.slice(0, cut), first), ...this.#encodePlain(text.slice(cut), false)];
  }

  /** The ids that the post-processor puts before and after a text. */
  #frame(): [number[], number[]] {
    const probe = 'slmd';
    const framed: number[] = this.#hub.encode(probe, { add_special_tokens: true }).ids;
    const { length } = this.#hub.encode(probe, { add_special_tokens: false }).ids;
    let before = 0;
    while (before < framed.length - length && this.#steeringIds.has(framed[before]!)) before++;
    return [framed.slice(0, before), framed.slice(before + length)];
  }
}

/** A token in `tokenizer_config.json` is a text or an object with `content`. */
function tokenText(token: unknown): string | undefined {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}

/** The library's tokenizer, without what it would keep of the file. */
function openHub(tokenizer: Record<string, unknown>, config: Record<string, unknown>): HubTokenizer {
  const { vocab, merges, ...model } = tokenizer.model as BpeFile;
  if (merges === undefined) return new HubTokenizer(tokenizer, config);
  const hub = new HubTokenizer({ ...tokenizer, model: { ...model, vocab, merges: [] } }, config);
  const bpe = hub.model as BpeModel;
  const ids = bpe.tokens_to_ids;
  // Tokens that share an id, as one may that was added in place of another, cannot be told apart by it.
  if (new Set(ids.values()).size < ids.size) return new HubTokenizer(tokenizer, config);
  bpe.bpe_ranks = new MergeRanks(merges, ids);
  bpe.config = model;
  hub.tokenizer = {};
  return hub;
}

type BpeFile = { vocab: unknown; merges?: (string | string[])[] };
type BpeModel = {
  tokens_to_ids: ReadonlyMap<string, number>;
  bpe_ranks: Pick<Map<string, number>, 'get'>;
  config: object;
};

/**
 * The library's decoder of `<0x..>` ids swallows U+FEFF where a run of bytes begins with it, as a decoder
 * of files would; here it is a character like others.
 */
function keepByteOrderMarks(decoder: unknown): void {
  const step = decoder as { text_decoder?: object; decoders?: unknown[] } | null;
  if (step?.text_decoder !== undefined) step.text_decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  step?.decoders?.forEach(keepByteOrderMarks);
}

function withoutSpecials(
  tokenizer: Record<string, unknown>,
  config: Record<string, unknown>,
  hub: HubTokenizer,
): HubTokenizer {
  const added = (tokenizer.added_tokens ?? []) as AddedToken[];
  const plain = new HubTokenizer(
    {
      ...tokenizer,
      added_tokens: added.filter((token) => token.special !== true),
      // A vocabulary can be a hundred megabytes; the one that is loaded already takes this one's place.
      model: { type: 'BPE', vocab: {}, merges: [] },
      post_processor: null,
      decoder: null,
    },
    config,
  );
  plain.model = hub.model;
  return plain;
}

/**
 * The tokenizer's `Digits` step means every Unicode number (`char::is_numeric`), as in ½; the library's
 * means 0 to 9. A split by the category says the same and is understood.
 */
function digitsAsSplit(step: unknown): unknown {
  if (Array.isArray(step)) return step.map(digitsAsSplit);
  if (typeof step !== 'object' || step === null) return step;
  const { type, individual_digits, pretokenizers } = step as Record<string, unknown>;
  if (type === 'Digits') {
    return {
      type: 'Split',
      pattern: { Regex: individual_digits ? '\\p{N}' : '\\p{N}+' },
      behavior: 'Isolated',
      invert: false,
    };
  }
  return pretokenizers === undefined ? step : { ...step, pretokenizers: digitsAsSplit(pretokenizers) };
}

/** Metaspace with `prepend_scheme: first` puts a space before the first section of a text only. */
function prependOnlyFirst(tokenizer: Record<string, unknown>): Record<string, unknown> {
  const text = JSON.stringify(tokenizer.pre_tokenizer ?? null, (key, value) =>
    key === 'prepend_scheme' && value === 'first' ? 'never' : value,
  );
  return { ...tokenizer, pre_tokenizer: JSON.parse(text) };
}

function anyOf(tokens: readonly string[]): RegExp {
  if (tokens.length === 0) return /(?!)/g;
  // The longest first: of two that begin at one place, the longer is meant.
  const longestFirst = tokens.toSorted((a, b) => b.length - a.length);
  return new RegExp(
    longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'),
    'g',
  );
}

/** Special tokens and what is between them, in order; a token that strips takes the space beside it. */
function splitSections(text: string, pattern: RegExp, specials: ReadonlyMap<string, AddedToken>): string[] {
  const sections: string[] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) sections.push(text.slice(end, match.index));
    sections.push(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) sections.push(text.slice(end));
  return sections.map((section, i) => {
    if (specials.has(section)) return section;
    let stripped = section;
    if (specials.get(sections[i - 1] ?? '')?.rstrip) stripped = stripped.trimStart();
    if (specials.get(sections[i + 1] ?? '')?.lstrip) stripped = stripped.trimEnd();
    return stripped;
  });
}
