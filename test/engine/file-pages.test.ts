import assert from 'node:assert/strict';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { shippedModel } from '../../src/lib/package-root.ts';
import { dropFilePages, NativeSession, openLibrary } from '../../src/onnx/ffi/index.ts';
import { sessionOptions } from '../../src/onnx/session-options.ts';
import { temporaryDir } from '../support/temporary.ts';

const library = openLibrary();
const options = sessionOptions({ threads: 1, spinUs: 0 });

test('the pages of a model that loading leaves behind are given back, once, and those of others are not', async (t) => {
  const dir = shippedModel();
  const session = await NativeSession.create(library, join(dir, 'model.onnx'), options);
  assert.ok(residentBytesOf(dir) > 0, 'loading leaves something');
  assert.equal(dropFilePages(library, temporaryDir(t)), 0);
  const left = residentBytesOf(dir);
  assert.equal(dropFilePages(library, dir), left);
  assert.equal(residentBytesOf(dir), 0);
  assert.equal(dropFilePages(library, dir), 0);
  await session.release();
});

test("a page that was written to is no longer the file's, and stays", (t) => {
  const dir = temporaryDir(t);
  const path = join(dir, 'weights');
  const pageBytes = 65_536;
  writeFileSync(path, Buffer.alloc(pageBytes, 'file'));
  const { memory, unmap } = mapPrivately(path, pageBytes);
  try {
    memory.write('mine');
    dropFilePages(library, dir);
    assert.equal(memory.toString('latin1', 0, 8), 'minefile');
  } finally {
    unmap();
  }
});

function residentBytesOf(dir: string): number {
  const blocks = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-)/m);
  const inside = blocks.filter((block) => block.split('\n', 1)[0]?.includes(realpathSync(dir)));
  return inside.reduce((sum, block) => sum + Number(/^Rss: +(\d+)/m.exec(block)?.[1]) * 1024, 0);
}

/** Linux: `PROT_READ | PROT_WRITE`, `MAP_PRIVATE`. */
const readAndWrite = 3;
const privately = 2;

function mapPrivately(path: string, bytes: number): { memory: Buffer; unmap(): void } {
  const { koffi } = library;
  const libc = koffi.load(null);
  const open = libc.func('int open(const char *, int)');
  const close = libc.func('int close(int)');
  const mmap = libc.func('void *mmap(void *, size_t, int, int, int, intptr_t)');
  const munmap = libc.func('int munmap(void *, size_t)');
  const fd: number = open(path, 0);
  const address = mmap(null, bytes, readAndWrite, privately, fd, 0);
  close(fd);
  const memory = Buffer.from(koffi.view(address, bytes));
  return { memory, unmap: () => void munmap(address, bytes) };
}
