import type { Library } from './library.ts';

/** `MADV_DONTNEED`: plain memory is zeros after it, and has pages again when it is written. */
const dontNeed = 4;

/**
 * Makes what gives memory back without freeing it: the whole pages within a piece of plain memory, such as an `ArrayBuffer`'s.
 * They are zeros after it. A refusal changes nothing.
 *
 * @throws where the C library cannot be called
 */
export function pageGiver({ koffi }: Library): (memory: Uint8Array) => void {
  const libc = koffi.load(null);
  const madvise = libc.func('int madvise(uintptr_t, size_t, int)');
  const page: number = libc.func('int getpagesize()')();
  return (memory) => {
    const begin = Number(koffi.address(memory));
    const start = Math.ceil(begin / page) * page;
    const end = Math.floor((begin + memory.length) / page) * page;
    if (start < end) madvise(start, end - start, dontNeed);
  };
}
