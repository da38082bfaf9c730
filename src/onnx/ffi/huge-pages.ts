import { closeSync, existsSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { Library } from './library.ts';
import { pageCalls } from './pages.ts';

const pagemap = 'proc/self/pagemap';
const hugePageBytes = 'sys/kernel/mm/transparent_hugepage/hpage_pmd_size';
/** `MADV_COLLAPSE`, of Linux 6.1 and later; earlier ones refuse it. */
const collapse = 25;
/** What the kernel says of a page: 8 bytes, of which the highest bit is set where it is in memory. */
const entryBytes = 8;
const presentBit = 0x80;
/** Of a huge page's pages so many must be there already, where nothing else is said: a twentieth is what may be added. */
const presentMin = 0.95;
/** Of memory that lies together so much is moved in one call: a process that ends waits for no more than that. */
const rangeBytesMax = 67_108_864;

/**
 * Moves this process's memory, as far as it is in use, from small pages to huge ones.
 *
 * Decoding a token reads every weight once, and with pages of 4 KB the processor looks up where they lie once
 * for every 4 KB. Memory that was never touched stays untouched, so no more is in use after than
 * before. What is in use is found at once; it is moved beside the event loop, a second for a gigabyte, while the
 * memory is used. Does nothing where the system has no huge pages, or no word for what is mapped.
 *
 * @param root stands before the paths of /proc and /sys, so that tests can show it any system
 * @returns resolves when all is moved
 * @throws where the system does not say what it has a word for; the memory is as it was
 */
export async function useHugePages(library: Library, root = '/'): Promise<void> {
  const sizes = sizesOf(library, root);
  if (sizes === null) return;
  await move(library, sizes, windowsInUse(sizes, anonymousMappings(root), presentMin, root));
}

/**
 * The same for a piece of memory.
 *
 * @param memory plain memory, which may be read and written meanwhile
 * @param share of a huge page's pages: so many must be there already, and the rest is added
 */
export async function useHugePagesIn(
  library: Library,
  memory: Uint8Array,
  share: number,
  root = '/',
): Promise<void> {
  const sizes = sizesOf(library, root);
  if (sizes === null) return;
  const start = Number(library.koffi.address(memory));
  await move(library, sizes, windowsInUse(sizes, [{ start, end: start + memory.length }], share, root));
}

async function move(library: Library, sizes: Sizes, windows: Iterable<number>): Promise<void> {
  const { madvise } = pageCalls(library);
  // A refusal changes nothing: the memory stays in small pages, or is not this process's any more.
  for (const { start, bytes } of [...joined(windows, sizes.huge)])
    await new Promise<void>((resolve) => madvise.async(start, bytes, collapse, () => resolve()));
}

interface Sizes {
  page: number;
  huge: number;
}

/** Null where the kernel was made without the one or the other. */
function sizesOf(library: Library, root: string): Sizes | null {
  const file = join(root, hugePageBytes);
  if (!existsSync(file) || !existsSync(join(root, pagemap))) return null;
  const huge = Number(readFileSync(file, 'utf8'));
  const { pageBytes: page } = pageCalls(library);
  return huge > page ? { page, huge } : null;
}

interface Mapping {
  start: number;
  end: number;
}

function* anonymousMappings(root: string): Iterable<Mapping> {
  for (const [, start, end] of readFileSync(join(root, 'proc/self/maps'), 'utf8').matchAll(anonymousPattern))
    yield { start: Number.parseInt(start!, 16), end: Number.parseInt(end!, 16) };
}

/** Where a huge page could begin and such a share of its pages is in memory. */
function* windowsInUse(
  { page, huge }: Sizes,
  mappings: Iterable<Mapping>,
  share: number,
  root: string,
): Iterable<number> {
  const file = openSync(join(root, pagemap), 'r');
  try {
    const entries = new Uint8Array((huge / page) * entryBytes);
    for (const { start: from, end } of mappings)
      for (let start = Math.ceil(from / huge) * huge; start + huge <= end; start += huge) {
        const bytes = readSync(file, entries, 0, entries.length, (start / page) * entryBytes);
        if (presentPages(entries.subarray(0, bytes)) * page >= huge * share) yield start;
      }
  } finally {
    closeSync(file);
  }
}

/** Windows that follow each other, as one: a call makes every processor tidy up, which takes longer than a move. */
function* joined(windows: Iterable<number>, huge: number): Iterable<{ start: number; bytes: number }> {
  let range: { start: number; bytes: number } | undefined;
  for (const start of windows) {
    if (range !== undefined && range.start + range.bytes === start && range.bytes < rangeBytesMax)
      range.bytes += huge;
    else {
      if (range !== undefined) yield range;
      range = { start, bytes: huge };
    }
  }
  if (range !== undefined) yield range;
}

function presentPages(entries: Uint8Array): number {
  let count = 0;
  for (let i = entryBytes - 1; i < entries.length; i += entryBytes) if (entries[i]! & presentBit) count++;
  return count;
}

/** `7f00-7f10 rw-p 00000000 00:00 0`, with nothing behind it or `[heap]`. */
const anonymousPattern = /^([0-9a-f]+)-([0-9a-f]+) rw-p 0+ 00:00 0 *(?:\[heap\])?$/gm;
