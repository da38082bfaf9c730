import type { CacheEntry, CacheType } from './graph-interface.ts';

/** The widest vector load of the CPUs that run this, and a cache line: tensors begin at one. */
export const alignmentBytes = 64;

const elementBytes: Record<CacheType, number> = { float32: 4, int8: 1 };

/** Where in one piece of memory heads and their tokens are, with room for so many rows of so many tokens. */
export class CacheLayout {
  readonly rows: number;
  readonly capacity: number;
  readonly bytes: number;
  readonly #tensors: readonly { offset: number; headBytes: number; rowBytes: number }[];

  constructor(cache: readonly CacheEntry[], rows: number, capacity: number) {
    this.rows = rows;
    this.capacity = capacity;
    let offset = 0;
    this.#tensors = cache.map((entry) => {
      const headBytes = capacity * entry.headSize * elementBytes[entry.type];
      const tensor = { offset, headBytes, rowBytes: entry.heads * headBytes };
      offset += align(rows * tensor.rowBytes);
      return tensor;
    });
    this.bytes = offset;
  }

  /** The first byte of a head of a row. */
  placeOf(tensor: number, row: number, head: number): number {
    const { offset, headBytes, rowBytes } = this.#tensors[tensor]!;
    return offset + row * rowBytes + head * headBytes;
  }
}

/** Of one token in one head. */
export function headTokenBytes({ type, headSize }: CacheEntry): number {
  return headSize * elementBytes[type];
}

/** What one row costs once its whole context has been used. */
export function rowBytes(cache: readonly CacheEntry[], capacity: number): number {
  return cache.reduce((sum, entry) => sum + entry.heads * capacity * headTokenBytes(entry), 0);
}

function align(bytes: number): number {
  return Math.ceil(bytes / alignmentBytes) * alignmentBytes;
}
