import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { dropFilePages, dropProgramPages, giveBackFreed } from '../../src/lib/own-memory.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import { NativeSession, openLibrary } from '../../src/onnx/ffi/index.ts';
import { settleLoaded } from '../../src/onnx/loaded-memory.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { sessionOptions } from '../../src/onnx/session-options.ts';
import { ForkedEngine, request } from '../support/forked-engine.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';
import { until } from '../support/wait.ts';

const library = openLibrary();
const options = sessionOptions({ threads: 1, spinUs: 0 });

test('the pages of a model that loading leaves behind are given back, once, and those of others are not', async (t) => {
  const dir = shippedModel();
  const session = await NativeSession.create(library, join(dir, 'model.onnx'), options);
  assert.ok(residentBytesOf(dir) > 0, 'loading leaves something');
  assert.equal(dropFilePages(temporaryDir(t)), 0);
  const left = residentBytesOf(dir);
  assert.equal(dropFilePages(dir), left);
  assert.equal(residentBytesOf(dir), 0);
  assert.equal(dropFilePages(dir), 0);
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
    dropFilePages(dir);
    assert.equal(memory.toString('latin1', 0, 8), 'minefile');
  } finally {
    unmap();
  }
});

test('what a program needs of its code comes back, and the rest stays out of memory', () => {
  const before = kibibytesOf('RssFile');
  const dropped = dropProgramPages();
  assert.ok(dropped > before * 512, 'most of it was given back');
  assert.ok(kibibytesOf('RssFile') < before / 2);
  assert.equal(JSON.stringify(['a', 'é'].map((text) => text.normalize('NFD').length)), '[1,2]');
});

test('memory that was freed by the C library is no longer in use', () => {
  const libc = library.koffi.load(null);
  const malloc = libc.func('void *malloc(size_t)');
  const free = libc.func('void free(void *)');
  const memset = libc.func('void *memset(void *, int, size_t)');
  const [count, bytes] = [500, 100_000];
  const blocks = Array.from({ length: count }, () => memset(malloc(bytes), 1, bytes));
  const full = kibibytesOf('RssAnon');
  // The last one keeps the end of the heap where it is, as what lives on does.
  for (const block of blocks.slice(0, -1)) free(block);
  giveBackFreed();
  assert.ok(full - kibibytesOf('RssAnon') > (count * bytes) / 1024 / 2);
  free(blocks.at(-1));
});

test('what cannot be given back is said, and is no reason to fail', (t) => {
  assert.throws(() => dropFilePages(join(temporaryDir(t), 'nowhere')), { code: 'ENOENT' });
  settleLoaded(library, join(temporaryDir(t), 'nowhere', 'model.onnx'));
  const withoutKoffi = join(import.meta.dirname, '../support/without-koffi.cjs');
  const program = `require(${ownMemory}).giveBackStart((line) => console.log(line))`;
  const said = execFileSync(process.execPath, ['-r', withoutKoffi, '-e', program], { encoding: 'utf8' });
  assert.equal(said.trim().split('\n').length, 2, 'neither what was freed nor program files');
});

test('what reading a prompt needed is given back with the first token of its answer', async () => {
  const tokens = 1500;
  const intermediateSize = 6000;
  const dir = await tinyModelDir({ checkpoint: { intermediateSize, contextLength: 2 * tokens } });
  const { decoder } = await openRuntime('native').openDecoder(join(dir, 'model.onnx'), {
    threads: 1,
    contextLength: 2 * tokens,
  });
  const held = () => {
    giveBackFreed();
    return kibibytesOf('RssAnon') * 1024;
  };
  await decoder.forward(new Array<number>(tokens).fill(1));
  const read = held();
  await decoder.forward([1]);
  // Of each layer, what one of its matrices makes of the tokens.
  assert.ok(read - held() > tokens * intermediateSize * 4);
  await decoder.dispose();
});

test('an engine that nobody asks has nothing of its model’s files in memory, after a load and after answers', async (t) => {
  const dir = shippedModel();
  const engine = await ForkedEngine.loaded(dir);
  t.after(() => engine.stop());
  const pid = engine.child.pid!;
  const atRest = () => until(() => residentBytesOf(dir, pid) === 0 || undefined, 'the engine at rest');
  await atRest();
  for (const content of ['Turn on the lamp.', 'Is the door open?']) {
    await engine.run(request(content));
    await atRest();
  }
});

test('a heap that is kept small when it is young stays so under a burst of garbage', () => {
  const garbage = `
    const { getHeapSpaceStatistics } = require('node:v8');
    let kept = [];
    for (let i = 0; i < 2e6; i++) if (kept.push({ i }) > 50_000) kept = [];
    console.log(getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size)`;
  const youngBytes = (before: string) =>
    Number(execFileSync(process.execPath, ['-e', before + garbage], { encoding: 'utf8' }));
  assert.ok(youngBytes('') > youngBytesMax, 'it grows where nobody says so');
  assert.ok(youngBytes(`require(${ownMemory}).keepYoungHeapSmall();`) <= youngBytesMax);
});

const youngBytesMax = 8e6;
const ownMemory = JSON.stringify(join(import.meta.dirname, '../../src/lib/own-memory.ts'));

function kibibytesOf(name: string): number {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
}

function residentBytesOf(dir: string, pid: number | 'self' = 'self'): number {
  const blocks = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/^(?=[0-9a-f]+-)/m);
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
