import type { VariantKind } from '../ipc/messages.ts';
import { megabytes } from '../lib/megabytes.ts';
import type { OnnxVariant } from './layout.ts';

/** What of a board decides which of several graphs of one model it runs. */
export interface VariantBoard {
  /** Whether its processor computes in half precision; else every number is converted, back and forth. */
  halfPrecision: boolean;
  /** Whether its processor multiplies bytes and adds them up in one instruction. */
  byteProducts: boolean;
  memoryBytes: number;
}

export interface VariantChoice {
  variant: OnnxVariant;
  /** Why this one, in one line. */
  reason: string;
}

/** The best for a small CPU first; half-precision activations come last where they are emulated. */
const order = ['q4', 'int4', 'int8', 'quantized', 'uint8', 'q8', 'fp32', 'bnb4', 'fp16', 'q4f16'];
const halves = ['q4f16', 'fp16'];
const bytewise = ['int8', 'quantized', 'uint8', 'q8'];

/** Names of graphs that keep their weights so, and compute in float32 what is not an integer. */
const kinds: Record<VariantKind, readonly string[]> = {
  int4: ['q4', 'int4'],
  int8: bytewise,
  float32: ['fp32'],
};

const merits: Record<string, string> = {
  q4: 'four bits a weight, computed in float32',
  int4: 'four bits a weight, computed in float32',
  q4f16: 'four bits a weight, computed in float16, with half the cache',
  int8: 'eight bits a weight, and activations rounded to eight by the tensor: coarser than q4',
  quantized: 'eight bits a weight, and activations rounded to eight by the tensor: coarser than q4',
  uint8: 'eight bits a weight, and activations rounded to eight by the tensor: coarser than q4',
  q8: 'eight bits a weight, and activations rounded to eight by the tensor: coarser than q4',
  bnb4: 'four bits a weight, unpacked to float32 for every token: small, and slow',
  fp16: 'half precision',
  fp32: 'exact, and eight times the memory of four bits',
};

/** Weights as ONNX Runtime packs them are larger than their file. */
const packedFactor = 1.25;
/** The engine without weights, and what the board needs beside it. */
const besideBytes = 200e6;

/** Variants by name, the best for this board first: those of the kind that is preferred, before all others. */
export function rankVariants<T extends { name: string }>(
  variants: readonly T[],
  { halfPrecision }: Pick<VariantBoard, 'halfPrecision'>,
  kind: VariantKind = 'int4',
): T[] {
  const small = halfPrecision ? ['q4', 'int4', 'q4f16'] : [];
  const names = [...kinds[kind], ...small, ...order];
  const rank = ({ name }: T) => (names.includes(name) ? names.indexOf(name) : names.length);
  return variants.toSorted((a, b) => rank(a) - rank(b));
}

/** The best variant that fits into memory; where none does, the smallest. */
export function chooseVariant(
  variants: readonly OnnxVariant[],
  board: VariantBoard,
  kind: VariantKind = 'int4',
): VariantChoice {
  const fits = ({ bytes }: OnnxVariant) => bytes * packedFactor + besideBytes <= board.memoryBytes;
  const ranked = rankVariants(variants, board, kind);
  const [smallest] = variants.toSorted((a, b) => a.bytes - b.bytes);
  const best = ranked.find(fits);
  const variant = best ?? smallest;
  if (variant === undefined) throw new Error('there is nothing to choose from');
  const merit = merits[variant.name] ?? 'the one there is';
  if (best === undefined)
    return { variant, reason: `the smallest, though it may not fit into ${megabytes(board.memoryBytes)}` };
  const passed = ranked
    .slice(0, ranked.indexOf(best))
    .map(({ name }) => `${name} does not fit into ${megabytes(board.memoryBytes)}`);
  if (kind !== 'int4' && variants.every(({ name }) => !kinds[kind].includes(name)))
    passed.push(`none is ${kind}, as model.variant wants it`);
  if (!board.halfPrecision && ranked.some(({ name }) => halves.includes(name) && name !== variant.name))
    passed.push('this processor emulates float16');
  if (!board.byteProducts && bytewise.includes(variant.name))
    passed.push('slow on this processor, which has no dot product of bytes');
  return { variant, reason: [merit, ...passed].join('; ') };
}

/** For comparisons: whatever the board, the one that was rounded least. */
export function mostExact(variants: readonly OnnxVariant[]): VariantChoice {
  const exact = ['fp32', 'fp16'].flatMap((name) => variants.filter((variant) => variant.name === name));
  const variant = exact[0] ?? variants.at(-1);
  if (variant === undefined) throw new Error('there is nothing to choose from');
  return { variant, reason: 'the most exact' };
}
