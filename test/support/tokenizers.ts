import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TokenizerFiles } from '../../src/model/tokenizer.ts';
import { byteCharacters } from './tiny-tokenizer.ts';

/** Real tokenizers, where the checkout has them beside it; see their README. */
export const sharedDir = join(import.meta.dirname, '../../../shared');

export const sharedTokenizers = ['tokenizers/qwen2.5', 'tokenizers/smollm', 'models/stories260K'].filter(
  (name) => existsSync(join(sharedDir, name, 'tokenizer.json')),
);

export function sharedJson(path: string): unknown {
  return JSON.parse(readFileSync(join(sharedDir, path), 'utf8'));
}

export function sharedText(path: string): string {
  return readFileSync(join(sharedDir, path), 'utf8');
}

export function sharedTokenizerFiles(name: string): TokenizerFiles {
  return {
    tokenizer: sharedJson(`${name}/tokenizer.json`) as Record<string, unknown>,
    config: sharedJson(`${name}/tokenizer_config.json`) as Record<string, unknown>,
  };
}

const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };

/** Ids 0 to 255 are the bytes; then merges of your choice; then `<|start|>`, `<|end|>`. */
export function byteLevelFiles(merges: [string, string][] = []): TokenizerFiles {
  const vocabulary: Record<string, number> = {};
  for (const [byte, character] of byteCharacters().entries()) vocabulary[character] = byte;
  for (const [a, b] of merges) vocabulary[a + b] = Object.keys(vocabulary).length;
  const next = Object.keys(vocabulary).length;
  const step = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    tokenizer: {
      version: '1.0',
      added_tokens: [
        { ...special, id: next, content: '<|start|>' },
        { ...special, id: next + 1, content: '<|end|>' },
      ],
      normalizer: null,
      pre_tokenizer: step,
      post_processor: null,
      decoder: step,
      model: { type: 'BPE', vocab: vocabulary, merges: merges.map((pair) => pair.join(' ')) },
    },
    config: { bos_token: '<|start|>', eos_token: { content: '<|end|>' } },
  };
}

/** ▁ words with a byte for what the vocabulary lacks, as SentencePiece models have; 0 unk, 1 bos, 2 eos. */
export function byteFallbackFiles(): TokenizerFiles {
  const vocabulary: Record<string, number> = { '<unk>': 0, '<s>': 1, '</s>': 2 };
  for (let byte = 0; byte < 256; byte++) {
    vocabulary[`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`] = 3 + byte;
  }
  for (const piece of ['▁', ...'abcdefghijklmnopqrstuvwxyz<>/', '▁▁', '▁a', '▁the']) {
    vocabulary[piece] = Object.keys(vocabulary).length;
  }
  const toSpace = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
  return {
    tokenizer: {
      version: '1.0',
      added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ ...special, id, content })),
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Prepend', prepend: '▁' },
          { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
        ],
      },
      pre_tokenizer: null,
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
        pair: [],
        special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
      },
      decoder: {
        type: 'Sequence',
        decoders: [
          toSpace,
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        unk_token: '<unk>',
        byte_fallback: true,
        vocab: vocabulary,
        merges: ['▁ ▁', '▁ a'],
      },
    },
    config: { bos_token: '<s>', eos_token: '</s>' },
  };
}

/** Whole words after ▁, as T5-like models have; the decoder drops the space of the first. */
export function metaspaceFiles(prependScheme: 'always' | 'first'): TokenizerFiles {
  const pieces = [
    '<unk>',
    '<s>',
    '</s>',
    '▁',
    '▁the',
    '▁lamp',
    '▁is',
    '▁on',
    ...'abcdefghijklmnopqrstuvwxyz</>',
  ];
  const step = { type: 'Metaspace', replacement: '▁', prepend_scheme: prependScheme, split: true };
  return {
    tokenizer: {
      version: '1.0',
      added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ ...special, id, content })),
      normalizer: null,
      pre_tokenizer: step,
      post_processor: null,
      decoder: step,
      model: { type: 'Unigram', unk_id: 0, vocab: pieces.map((piece) => [piece, -1 / piece.length]) },
    },
    config: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' },
  };
}
