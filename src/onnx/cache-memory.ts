import { type Library, NativeValue } from './ffi/index.ts';
import type { CacheEntry } from './graph-interface.ts';

/** A cached tensor bound to its place in the memory. */
export interface BoundEntry extends CacheEntry {
  value: NativeValue;
}

/** The widest vector load of the CPUs that run this, and a cache line: rows of a head begin at one. */
const alignmentBytes = 64;

/**
 * The KV cache in one piece of memory, with room for the whole context from the beginning.
 *
 * Every tensor is [rows, heads, capacity, headSize], so a row of it is in one piece as well. The kernel
 * gives pages when they are first written: what no sequence ever reached costs address space only.
 */
export class CacheMemory {
  readonly entries: readonly BoundEntry[];

  constructor(library: Library, cache: readonly CacheEntry[], rows: number, capacity: number) {
    const sizes = cache.map(({ heads, headSize }) => align(rows * heads * capacity * headSize * 4));
    const buffer = new ArrayBuffer(sizes.reduce((sum, size) => sum + size, alignmentBytes));
    const address = Number(library.koffi.address(new Uint8Array(buffer)) % BigInt(alignmentBytes));
    let offset = (alignmentBytes - address) % alignmentBytes;
    this.entries = cache.map((entry, i) => {
      const { heads, headSize } = entry;
      const data = new Float32Array(buffer, offset, rows * heads * capacity * headSize);
      offset += sizes[i]!;
      return {
        ...entry,
        value: new NativeValue(library, 'float32', data, [rows, heads, capacity, headSize]),
      };
    });
  }

  release(): void {
    for (const { value } of this.entries) value.release();
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / alignmentBytes) * alignmentBytes;
}
