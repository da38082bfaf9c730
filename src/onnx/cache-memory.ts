import { type Library, NativeValue } from './ffi/index.ts';
import type { CacheEntry, CacheType } from './graph-interface.ts';

/** A cached tensor bound to its place in the memory. */
export interface BoundEntry extends CacheEntry {
  value: NativeValue;
}

type CacheArray = Float32Array<ArrayBuffer> | Int8Array<ArrayBuffer>;
const arrays = { float32: Float32Array, int8: Int8Array } satisfies Record<CacheType, unknown>;

/** The widest vector load of the CPUs that run this, and a cache line: rows of a head begin at one. */
const alignmentBytes = 64;

/**
 * The KV cache in one piece of memory, with room for the whole context of each row from the beginning.
 *
 * Every tensor is [rows, heads, capacity, headSize], so a row of it is in one piece, and so are rows that
 * follow each other. The kernel gives pages when they are first written: what no sequence ever reached
 * costs address space only.
 */
export class CacheMemory {
  readonly #library: Library;
  readonly #capacity: number;
  readonly #tensors: readonly { entry: CacheEntry; data: CacheArray; rowLength: number }[];
  readonly #bound: BoundEntry[] = [];

  constructor(library: Library, cache: readonly CacheEntry[], rows: number, capacity: number) {
    this.#library = library;
    this.#capacity = capacity;
    const sizes = cache.map((entry) => align(rows * rowBytes([entry], capacity)));
    const buffer = new ArrayBuffer(sizes.reduce((sum, size) => sum + size, alignmentBytes));
    const address = Number(library.koffi.address(new Uint8Array(buffer)) % BigInt(alignmentBytes));
    let offset = (alignmentBytes - address) % alignmentBytes;
    this.#tensors = cache.map((entry, i) => {
      const rowLength = entry.heads * capacity * entry.headSize;
      const data = new arrays[entry.type](buffer, offset, rows * rowLength);
      offset += sizes[i]!;
      return { entry, data, rowLength };
    });
  }

  /** Every cached tensor, as a graph sees it that runs `count` rows from `first` on. */
  bind(first: number, count: number): readonly BoundEntry[] {
    const bound = this.#tensors.map(({ entry, data, rowLength }) => {
      const rows = data.subarray(first * rowLength, (first + count) * rowLength);
      const dims = [count, entry.heads, this.#capacity, entry.headSize];
      return { ...entry, value: new NativeValue(this.#library, entry.type, rows, dims) };
    });
    this.#bound.push(...bound);
    return bound;
  }

  /** Of one token, over all cached tensors. */
  get tokenBytes(): number {
    return rowBytes(
      this.#tensors.map(({ entry }) => entry),
      1,
    );
  }

  /** What the first tokens of a row have left: [tensor, head, token, headSize]. */
  copyOut(row: number, tokens: number): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(tokens * this.tokenBytes);
    let offset = 0;
    for (const part of this.#partsOf(row, tokens)) {
      copy.set(part, offset);
      offset += part.length;
    }
    return copy;
  }

  /** Puts back what `copyOut` has given. */
  copyIn(row: number, tokens: number, copy: Uint8Array): void {
    let offset = 0;
    for (const part of this.#partsOf(row, tokens)) {
      part.set(copy.subarray(offset, offset + part.length));
      offset += part.length;
    }
  }

  release(): void {
    for (const { value } of this.#bound.splice(0)) value.release();
  }

  *#partsOf(row: number, tokens: number): Iterable<Uint8Array> {
    for (const { entry, data, rowLength } of this.#tensors)
      for (let head = 0; head < entry.heads; head++) {
        const start = row * rowLength + head * this.#capacity * entry.headSize;
        const part = data.subarray(start, start + tokens * entry.headSize);
        yield new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
      }
  }
}

/** What one row costs once its whole context has been used. */
export function rowBytes(cache: readonly CacheEntry[], capacity: number): number {
  const bytes = ({ type, heads, headSize }: CacheEntry) =>
    heads * capacity * headSize * arrays[type].BYTES_PER_ELEMENT;
  return cache.reduce((sum, entry) => sum + bytes(entry), 0);
}

function align(bytes: number): number {
  return Math.ceil(bytes / alignmentBytes) * alignmentBytes;
}
