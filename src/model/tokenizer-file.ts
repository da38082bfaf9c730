/** A token of `added_tokens`. */
export interface AddedToken {
  id: number;
  content: string;
  special?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
}

/**
 * Checks what the library that reads `tokenizer.json` takes on trust: it would otherwise give ids that mean
 * something else, or fail at the first prompt.
 *
 * @throws Error naming the field
 */
export function assertTokenizerFile(tokenizer: Record<string, unknown>): void {
  const { model, added_tokens = [] } = tokenizer;
  if (!isObject(model)) throw new Error('it has no model');
  const { type, vocab } = model;
  // Files of before the field was written are of the older kind.
  if (type === 'BPE' || (type === undefined && model.merges !== undefined)) assertBpe(model);
  else if (type === 'Unigram') assertPieces(vocab);
  else throw new Error(`model.type is ${JSON.stringify(type)}; BPE and Unigram can be used`);
  if (!Array.isArray(added_tokens)) throw new Error('added_tokens is no list');
  for (const [i, token] of added_tokens.entries()) {
    if (isObject(token) && isId(token.id) && typeof token.content === 'string') continue;
    throw new Error(`added_tokens.${i} has no id or no content`);
  }
}

function assertBpe({ vocab, merges }: Record<string, unknown>): void {
  if (!isObject(vocab)) throw new Error('model.vocab is no object of tokens and ids');
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id))
      throw new Error(`model.vocab: the id of ${JSON.stringify(token)} is ${JSON.stringify(id)}`);
  }
  if (!Array.isArray(merges)) throw new Error('model.merges is no list');
  for (const [i, merge] of merges.entries()) {
    const pair: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2) throw new Error(`model.merges.${i} is no pair of tokens`);
    const [first, second] = pair as [unknown, unknown];
    for (const token of [first, second, `${first}${second}`]) {
      if (typeof token === 'string' && Object.hasOwn(vocab, token)) continue;
      throw new Error(
        `model.merges.${i} makes or needs ${JSON.stringify(token)}, which is not in the vocabulary`,
      );
    }
  }
}

function assertPieces(vocab: unknown): void {
  if (!Array.isArray(vocab) || vocab.length === 0) throw new Error('model.vocab is no list of pieces');
  for (const [i, piece] of vocab.entries()) {
    if (Array.isArray(piece) && typeof piece[0] === 'string' && typeof piece[1] === 'number') continue;
    throw new Error(`model.vocab.${i} is no piece with its score`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
