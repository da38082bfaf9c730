/** One cached tensor, [rows, heads, tokens, head size], as it goes into a graph and as it comes out. */
export interface CachedTensor {
  input: string;
  output: string;
  type: keyof typeof elementBytes;
  heads: number;
  headSize: number;
}

/** The widest vector load of the CPUs that run this, and a cache line: tensors begin at one. */
export const alignmentBytes = 64;

const elementBytes = { float32: 4, float16: 2, int8: 1, uint8: 1 };

/** Where in one piece of memory heads and their tokens are, with room for so many rows of so many tokens. */
export class CacheLayout {
  readonly rows: number;
  readonly capacity: number;
  readonly bytes: number;
  readonly #tensors: readonly { offset: number; headBytes: number; rowBytes: number }[];

  constructor(cache: readonly CachedTensor[], rows: number, capacity: number) {
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
export function headTokenBytes({ type, headSize }: CachedTensor): number {
  return headSize * elementBytes[type];
}

/** What one row costs once its whole context has been used. */
export function rowBytes(cache: readonly CachedTensor[], capacity: number): number {
  return cache.reduce((sum, entry) => sum + entry.heads * capacity * headTokenBytes(entry), 0);
}

function align(bytes: number): number {
  return Math.ceil(bytes / alignmentBytes) * alignmentBytes;
}
