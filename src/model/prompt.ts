import type { ChatMessage } from '../ipc/messages.ts';
import { SlmdError } from '../lib/errors.ts';
import type { ChatTemplate } from './chat-template.ts';
import type { Tokenizer } from './tokenizer.ts';

/** Breakers are taken from here: the private use area of the basic plane. */
const breakerFirst = 0xe000;
const breakerLast = 0xf8ff;

/**
 * The ids of a conversation, ready for the model to answer.
 *
 * Only the template's own special tokens count as special. A content that spells one gets a breaker
 * character inside it before it is rendered, which the tokenizer takes out again after it has looked for
 * special tokens. Content that spells none is rendered as it is, so that a template may trim, search or
 * cut it as its author meant.
 *
 * Without a template the contents are joined as they are.
 *
 * @throws {SlmdError} `invalid_request` when the template refuses the messages, or nothing is left of them
 */
export function encodeConversation(
  messages: readonly ChatMessage[],
  tokenizer: Tokenizer,
  template: ChatTemplate | undefined,
): number[] {
  const ids =
    template === undefined
      ? tokenizer.encodeBare(messages.map(({ content }) => content).join(''))
      : encodeRendered(messages, tokenizer, template);
  if (ids.length === 0) throw new SlmdError('invalid_request', 'the prompt is empty');
  return ids;
}

function encodeRendered(
  messages: readonly ChatMessage[],
  tokenizer: Tokenizer,
  template: ChatTemplate,
): number[] {
  const breaker = unusedCharacter(messages);
  const broken = messages.map(({ role, content }) => ({
    role,
    content: breakSpecials(content, tokenizer.specialTokens, breaker),
  }));
  return tokenizer.encode(template.render(broken), breaker);
}

/** Puts the breaker behind the first character of each special token, whole or begun at the end. */
function breakSpecials(content: string, specials: readonly string[], breaker: string): string {
  const cuts = new Set<number>();
  // A template may trim, and the next content may go on where this one ends.
  const ends = [content.length, content.trimEnd().length];
  for (const special of specials) {
    for (let at = content.indexOf(special); at !== -1; at = content.indexOf(special, at + 1))
      cuts.add(at + 1);
    for (const end of ends) {
      for (let length = Math.min(special.length - 1, end); length > 0; length--) {
        if (content.startsWith(special.slice(0, length), end - length)) cuts.add(end - length + 1);
      }
    }
  }
  let broken = '';
  let start = 0;
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    broken += content.slice(start, cut) + breaker;
    start = cut;
  }
  return broken + content.slice(start);
}

function unusedCharacter(messages: readonly ChatMessage[]): string {
  for (let code = breakerFirst; code <= breakerLast; code++) {
    const character = String.fromCharCode(code);
    if (messages.every(({ content }) => !content.includes(character))) return character;
  }
  throw new SlmdError('invalid_request', 'the messages use every private-use character');
}
