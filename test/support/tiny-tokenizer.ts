import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Ids 0 to 255 are the bytes; these follow. */
export const tinySpecialTokens = { endOfText: 256, imStart: 257, imEnd: 258, pad: 259 } as const;

const specialTexts = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|pad|>'];

const chatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * Writes a tokenizer whose tokens are bytes, with a ChatML template: `tokenizer.json`,
 * `tokenizer_config.json`, `chat_template.jinja` and `generation_config.json`.
 */
export function writeTinyTokenizer(dir: string): void {
  const write = (name: string, value: unknown) =>
    writeFileSync(join(dir, name), `${JSON.stringify(value, null, 1)}\n`);
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  write('tokenizer.json', {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTexts.map((content, i) => ({ id: 256 + i, content, ...special })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(byteCharacters().map((character, byte) => [character, byte])),
      merges: [],
    },
  });
  write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    add_prefix_space: false,
    clean_up_tokenization_spaces: false,
    eos_token: '<|im_end|>',
    pad_token: '<|pad|>',
    model_max_length: 256,
  });
  write('generation_config.json', { eos_token_id: [tinySpecialTokens.imEnd, tinySpecialTokens.endOfText] });
  writeFileSync(join(dir, 'chat_template.jinja'), chatTemplate);
}

/** Byte-level BPE's printable stand-ins: printable Latin-1 as itself, all else from U+0100 on. */
export function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    return String.fromCodePoint(printable ? byte : next++);
  });
}
