import type { Library } from './library.ts';

/** `MADV_DONTNEED`: plain memory is zeros after it, and has pages again when it is written. */
const dontNeed = 4;

/** What the C library has for pages. @throws where it cannot be called */
export function pageCalls({ koffi }: Library) {
  const libc = koffi.load(null);
  const madvise = libc.func('int madvise(uintptr_t, size_t, int)');
  return { madvise, pageBytes: libc.func('int getpagesize()')() as number };
}

/**
 * Makes what gives memory back without freeing it: the whole pages within a piece of plain memory, such as an `ArrayBuffer`'s.
 * They are zeros after it. A refusal changes nothing.
 *
 * @throws where the C library cannot be called
 */
export function pageGiver(library: Library): (memory: Uint8Array) => void {
  const { madvise, pageBytes } = pageCalls(library);
  return (memory) => {
    const begin = Number(library.koffi.address(memory));
    const start = Math.ceil(begin / pageBytes) * pageBytes;
    const end = Math.floor((begin + memory.length) / pageBytes) * pageBytes;
    if (start < end) madvise(start, end - start, dontNeed);
  };
}
