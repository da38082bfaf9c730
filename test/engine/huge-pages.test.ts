import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Dispensable } from '../../src/lib/dispensable.ts';
import { CacheMemory } from '../../src/onnx/cache-memory.ts';
import { openLibrary, useHugePages, useHugePagesIn } from '../../src/onnx/ffi/index.ts';
import { HugePages } from '../../src/onnx/huge-pages.ts';
import { temporaryDir } from '../support/temporary.ts';

const library = openLibrary();
const bytes = 32 * 1024 * 1024;

test('memory in use is moved as it is, and what nobody has touched stays out of memory', async () => {
  const used = Buffer.alloc(bytes, 'weights');
  const untouched = new Uint8Array(bytes);
  const before = anonymousBytes();
  await useHugePages(library);
  assert.ok(anonymousBytes() - before < bytes / 2, 'no more is in memory than was');
  assert.ok(used.equals(Buffer.alloc(bytes, 'weights')), 'its bytes are the same');
  assert.ok(untouched.every((byte) => byte === 0));
  if (knowsCollapse()) assert.ok(hugeBytes() > bytes / 2, 'most of it is in huge pages');
});

test('a piece of memory is moved where enough of it is in use, and nothing beside it', async () => {
  const page = 4096;
  const held: Uint8Array[] = [];
  let moved = 0;
  // There is memory of which the kernel moves nothing, however often it is asked; it has other memory.
  for (let times = 0; times < 10 && moved === 0; times++) {
    const memory = new Uint8Array(bytes);
    const beside = Buffer.alloc(bytes, 'weights');
    held.push(memory, beside);
    for (let at = 0; at < bytes; at += page) if (at % (5 * page) !== 0) memory[at] = 1;
    const before = hugeBytes();
    await useHugePagesIn(library, memory, 0.9);
    assert.ok(hugeBytes() - before < bytes / 8, 'four fifths of its pages are too few');
    await useHugePagesIn(library, memory, 0.75);
    moved = Math.max(0, hugeBytes() - before);
    assert.ok(memory.every((byte, at) => byte === Number(at % page === 0 && at % (5 * page) !== 0)));
    assert.ok(beside.equals(Buffer.alloc(bytes, 'weights')));
    if (!knowsCollapse()) return;
  }
  assert.ok(moved > bytes / 2 && moved <= bytes, `${moved} bytes are in huge pages`);
});

/** A system that has huge pages and whose word for what is mapped is a directory, which even root cannot read. */
const unreadable = {
  'sys/kernel/mm/transparent_hugepage/hpage_pmd_size': '2097152\n',
  'proc/self/maps': '7f0000000000-7f0000400000 rw-p 00000000 00:00 0\n',
  'proc/self/pagemap/none': '',
};

test('where the system has no huge pages nothing is done, and where it does not say what is mapped, that is said', async (t) => {
  const memory = new Uint8Array(bytes);
  await useHugePages(library, temporaryDir(t));
  await useHugePagesIn(library, memory, 0, temporaryDir(t));
  await assert.rejects(useHugePages(library, temporaryDir(t, unreadable)), { code: 'EISDIR' });
  await assert.rejects(useHugePagesIn(library, memory, 0, temporaryDir(t, unreadable)), { code: 'EISDIR' });
  const { 'proc/self/maps': _, ...unlisted } = unreadable;
  await assert.rejects(useHugePages(library, temporaryDir(t, unlisted)), { code: 'ENOENT' });
});

test('a KV cache whose pages cannot be looked at grows as any other, and says so once', async (t) => {
  const said: string[] = [];
  const attempts = new Dispensable('small pages', (line) => said.push(line));
  const pages = new HugePages(library, { root: temporaryDir(t, unreadable), attempts });
  const cache = [{ input: 'past', output: 'present', type: 'float32', heads: 4, headSize: 64 } as const];
  const memory = new CacheMemory(library, cache, 1, 4096, { pages });
  for (let tokens = 128; tokens <= 4096; tokens += 128) memory.reach(0, tokens);
  await pages.useAll();
  assert.equal(said.length, 1);
  memory.release();
});

function anonymousBytes(): number {
  return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

function hugeBytes(): number {
  return Number(/^AnonHugePages:\s+(\d+)/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))?.[1]) * 1024;
}

/** A kernel that has huge pages, and is of 6.1 or later. */
function knowsCollapse(): boolean {
  const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
  if (major < 6 || (major === 6 && minor < 1)) return false;
  try {
    const size = Number(readFileSync('/sys/kernel/mm/transparent_hugepage/hpage_pmd_size', 'utf8'));
    return size <= bytes / 16;
  } catch {
    return false;
  }
}
