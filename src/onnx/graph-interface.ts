/** What a graph takes and gives, found in the graph itself, whoever wrote it; no model has a name here. */

import { SlmdError } from '../lib/errors.ts';
import type { CachedTensor } from './cache-layout.ts';
import type { GraphFile, GraphValue } from './graph-file.ts';
import type { Meaning, TokenInput } from './token-inputs.ts';

/** Names of inputs and outputs, where they are not the usual ones; `%d` stands for the layer. */
export interface GraphNames {
  inputIds: string;
  attentionMask: string;
  positionIds: string;
  logits: string;
  /** A pattern of past inputs with the one of present outputs that it belongs to. */
  cache: readonly [past: string, present: string][];
}

export const usualNames: GraphNames = {
  inputIds: 'input_ids',
  attentionMask: 'attention_mask',
  positionIds: 'position_ids',
  logits: 'logits',
  cache: [
    ['past_key_values.%d.key', 'present.%d.key'],
    ['past_key_values.%d.value', 'present.%d.value'],
    ['past_key_%d', 'present_key_%d'],
    ['past_value_%d', 'present_value_%d'],
    ['past_%d', 'present_%d'],
  ],
};

/** A cached tensor as it goes in and as it comes out. */
export interface PastEntry extends CachedTensor {
  /** Keys and values are one tensor, [2, batch, heads, tokens, head size]; else one of them, without the 2. */
  combined: boolean;
}

const cacheTypes = ['float32', 'float16', 'int8', 'uint8'] as const;

export type LogitsType = 'float32' | 'float16';

export interface GraphInterface {
  inputs: readonly TokenInput[];
  cache: readonly PastEntry[];
  logits: string;
  logitsType: LogitsType;
  vocabularySize: number;
  /**
   * Whether past and present may be the same memory, with room for more tokens than there are: the
   * operators that read the past are the ones that write the present, and are told the lengths.
   */
  shared: boolean;
}

/**
 * @param vocabularySize for a graph whose logits do not say it
 * @throws {SlmdError<'model_unsupported'>} in one phrase what the graph has that cannot be served, or has not and should
 */
export function readGraphInterface(
  graph: GraphFile,
  names: GraphNames = usualNames,
  vocabularySize?: number,
): GraphInterface {
  const entries = pairs(graph, names);
  const past = new Set(entries.map(([input]) => input));
  const others = graph.inputs.filter((input) => !past.has(input));
  const inputs = others.map((input) => tokenInput(input, names));
  if (!inputs.some(({ meaning }) => meaning === 'ids'))
    throw unsupported(`it has no input ${names.inputIds}`);
  if (entries.length === 0) throw unsupported('it keeps no keys and values of the tokens before');
  const cache = entries.map(([input, output]) => pastEntry(input, output));
  const logits = graph.outputs.find(({ name }) => name === names.logits);
  if (logits === undefined) throw unsupported(`it has no output ${names.logits}`);
  if (logits.type !== 'float32' && logits.type !== 'float16')
    throw unsupported(`its ${logits.name} are neither float32 nor float16`);
  const last = logits.shape.at(-1);
  const size = typeof last === 'number' ? last : vocabularySize;
  if (logits.shape.length !== 3 || size === undefined)
    throw unsupported(`its ${logits.name} are not [batch, tokens, vocabulary]`);
  return {
    inputs,
    cache,
    logits: logits.name,
    logitsType: logits.type,
    vocabularySize: size,
    shared: cache.every((entry) => isShared(graph, entry)),
  };
}

/** The dimensions of a cached tensor with so many tokens. */
export function cacheDims({ combined, heads, headSize }: PastEntry, tokens: number): number[] {
  return [...(combined ? [2] : []), 1, heads, tokens, headSize];
}

/** Past inputs with their present outputs, by the patterns. */
function pairs({ inputs, outputs }: GraphFile, { cache }: GraphNames): [GraphValue, GraphValue][] {
  return inputs.flatMap((input) => {
    for (const [past, present] of cache) {
      const layer = layerIn(input.name, past);
      if (layer === null) continue;
      const name = present.replace('%d', layer);
      const output = outputs.find((candidate) => candidate.name === name);
      if (output === undefined) throw unsupported(`its input ${input.name} has no output ${name}`);
      return [[input, output] as [GraphValue, GraphValue]];
    }
    return [];
  });
}

function layerIn(name: string, pattern: string): string | null {
  const [before = '', after = ''] = pattern.split('%d');
  if (!name.startsWith(before) || !name.endsWith(after)) return null;
  const layer = name.slice(before.length, name.length - after.length);
  return /^\d+$/.test(layer) ? layer : null;
}

function tokenInput({ name, type, shape }: GraphValue, names: GraphNames): TokenInput {
  const known = meaningOf(name, names);
  if (known === null) throw unsupported(reasonAgainst(name));
  const [meaning, ...ranks] = known;
  if (type !== 'int64' && type !== 'int32') throw unsupported(`its ${name} is neither int64 nor int32`);
  const rank = shape.length;
  if (meaning === 'positions' && rank === 3) throw unsupported(`its ${name} are those of images`);
  if (!ranks.includes(rank)) throw unsupported(`its ${name} has ${rank} dimensions`);
  if (rank === 2 && typeof shape[1] === 'number')
    throw unsupported(`its ${name} takes ${shape[1]} tokens at a time and no other number`);
  if (rank > 0 && typeof shape[0] === 'number' && shape[0] !== 1)
    throw unsupported(`its ${name} takes ${shape[0]} prompts at a time and no other number`);
  return { name, type, meaning, rank };
}

/** What an input means, and the dimensions that it may have. */
function meaningOf(name: string, names: GraphNames): [Meaning, ...number[]] | null {
  switch (name) {
    case names.inputIds:
      return ['ids', 2];
    case names.attentionMask:
      return ['mask', 2];
    case names.positionIds:
      return ['positions', 2];
    case 'seqlens_k':
      return ['last', 1];
    case 'total_sequence_length':
      return ['total', 0, 1];
    case 'num_logits_to_keep':
    case 'logits_to_keep':
      return ['logitsKept', 0, 1];
    default:
      return null;
  }
}

/** Inputs of graphs that are no decoders of text, or need what slmd does not have. */
const refused: [RegExp, string][] = [
  [/pixel|image|vision/, 'it takes images'],
  [/audio|input_features|speech/, 'it takes sound'],
  [/^encoder_|^decoder_input/, 'it is half of an encoder and a decoder'],
  [/block_table|slot_mapping|cumulative|cu_seqlens|paged/, 'its cache is paged'],
  [/embeds/, 'it takes embeddings in place of token ids'],
  [/scale/, 'its cache is quantized, and its scales are nowhere'],
  [/conv|ssm|state/, 'it keeps a state that cannot go back to an earlier token'],
];

function reasonAgainst(name: string): string {
  const [, reason] = refused.find(([pattern]) => pattern.test(name)) ?? [];
  return reason === undefined ? `it has an input that slmd does not know: ${name}` : `${reason} (${name})`;
}

function pastEntry(input: GraphValue, output: GraphValue): PastEntry {
  const { name, shape } = input;
  const type = cacheTypes.find((candidate) => candidate === input.type);
  if (type === undefined) throw unsupported(`its ${name} is of no type that a cache has`);
  if (output.type !== type) throw unsupported(`its ${output.name} is of another type than ${name}`);
  const combined = shape.length === 5 && shape[0] === 2;
  if (shape.length !== 4 && !combined)
    throw unsupported(`its ${name} is not [batch, heads, tokens, head size]`);
  const [batch, heads, tokens, headSize] = combined ? shape.slice(1) : shape;
  if (typeof batch === 'number' && batch !== 1)
    throw unsupported(`its ${name} holds ${batch} prompts and no other number`);
  if (typeof tokens === 'number') throw unsupported(`its ${name} holds ${tokens} tokens and no other number`);
  if (typeof heads !== 'number' || typeof headSize !== 'number')
    throw unsupported(`its ${name} does not say how many heads there are, and how large`);
  return { input: name, output: output.name, type, heads, headSize, combined };
}

/** Operators that write the new tokens behind the old ones where both are in the same memory. */
const sharingOperator = 'GroupQueryAttention';

function isShared({ nodes }: GraphFile, { input, output }: PastEntry): boolean {
  const readers = nodes.filter(({ inputs }) => inputs.includes(input));
  const [reader] = readers;
  return readers.length === 1 && reader?.operator === sharingOperator && reader.outputs.includes(output);
}

function unsupported(reason: string): SlmdError<'model_unsupported'> {
  return new SlmdError('model_unsupported', reason);
}
