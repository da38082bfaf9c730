import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { CachedTensor } from '../../src/onnx/cache-layout.ts';
import { CacheMemory } from '../../src/onnx/cache-memory.ts';
import type { Sequence } from '../../src/onnx/decoder.ts';
import { type NativeValue, openLibrary } from '../../src/onnx/ffi/index.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const library = openLibrary();
const contextLength = 2000;

/** Two tensors of different kinds, of which no capacity is a whole number of cache lines. */
const cache: CachedTensor[] = [
  { input: 'past.key', output: 'present.key', type: 'float32', heads: 3, headSize: 5 },
  { input: 'past.value', output: 'present.value', type: 'int8', heads: 2, headSize: 7 },
];

/** Notes what it is bound to: the tensors of each time together. */
function planOf(times: NativeValue[][]) {
  return {
    bindInput: (name: string, value: NativeValue) => {
      if (name === cache[0]!.input) times.push([]);
      times.at(-1)!.push(value);
    },
    bindOutput: () => undefined,
  };
}

/** Whatever a row has left: bytes that depend on all of it. */
function bytesOf(memory: CacheMemory, row: number, tokens: number): Uint8Array {
  return new Uint8Array(tokens * memory.tokenBytes).map((_, i) => (i * 31 + row * 101 + tokens) % 251);
}

for (const free of [0, 1e12])
  test(`with ${free} bytes free, what rows have left is the same bytes however far they grow after it, and whichever row begins`, () => {
    const memory = new CacheMemory(library, cache, 3, contextLength, { free: () => free });
    const lengths = [200, 0, 0];
    const expected: Uint8Array[] = [];
    const fill = (row: number, tokens: number) => {
      lengths[row] = tokens;
      expected[row] = bytesOf(memory, row, tokens);
      memory.reach(row, tokens);
      memory.copyIn(row, tokens, expected[row]);
    };
    fill(0, 200);
    for (const [row, tokens] of [
      [2, 70],
      [0, 300],
      [1, 513],
      [2, 1400],
      [0, contextLength],
    ] as const) {
      memory.reach(row, tokens);
      for (const [known, bytes] of expected.entries())
        if (bytes !== undefined) assert.deepEqual(memory.copyOut(known, lengths[known]!), bytes);
      if (row !== 0) fill(row, tokens);
    }
  });

test('whoever uses rows is told where they are as soon as there is room, and after each move', () => {
  const memory = new CacheMemory(library, cache, 2, contextLength);
  const first: NativeValue[][] = [];
  const both: NativeValue[][] = [];
  memory.bind(0, 1, planOf(first));
  memory.bind(0, 2, planOf(both));
  memory.reach(0, 100);
  assert.deepEqual([first.length, both.length], [1, 0], 'there is no room for the second row yet');
  memory.reach(1, 1);
  assert.deepEqual([first.length, both.length], [2, 1]);
  memory.reach(1, 257);
  assert.deepEqual([first.length, both.length], [3, 2]);
  memory.reach(0, 300);
  assert.deepEqual([first.length, both.length], [3, 2], 'nothing has moved');
  assert.deepEqual(
    both.at(-1)!.map(({ dims }) => dims),
    [
      [2, 3, 384, 5],
      [2, 2, 384, 7],
    ],
  );
  assert.ok([...first.slice(0, -1), ...both.slice(0, -1)].flat().every(({ usable }) => !usable));
  memory.release();
  assert.ok(
    [...first, ...both].flat().every(({ usable }) => !usable),
    'nothing is left to release',
  );
});

test('a cache of which nothing is held has no more room than one that is new', () => {
  const memory = new CacheMemory(library, cache, 2, contextLength);
  const bound: NativeValue[][] = [];
  memory.bind(0, 1, planOf(bound));
  const capacity = () => bound.at(-1)![0]!.dims[2];
  memory.reach(0, 1000);
  memory.reach(1, 10);
  memory.rewind(0, 0);
  memory.reach(0, 1);
  assert.equal(capacity(), 1296, 'the other row stays where it is');
  memory.rewind(0, 0);
  memory.rewind(1, 0);
  memory.reach(0, 1);
  assert.equal(capacity(), 256);
});

test('room for the whole context takes memory where it is used, and where it was used before', () => {
  const large = [{ ...cache[0]!, heads: 64, headSize: 64 }];
  const before = anonymousBytes();
  const memory = new CacheMemory(library, large, 4, 8192);
  memory.reach(0, 128);
  memory.copyIn(0, 128, new Uint8Array(128 * memory.tokenBytes));
  memory.reach(0, 257);
  const bytes = anonymousBytes() - before;
  assert.ok(bytes < 4 * 257 * memory.tokenBytes, `${bytes} bytes more are in memory, of 512 MB`);
});

test('where memory is short, what a cache leaves behind as it grows is given back', () => {
  const large = [{ ...cache[0]!, heads: 64, headSize: 64 }];
  const grown = (free: number) => {
    const bound: NativeValue[][] = [];
    const memory = new CacheMemory(library, large, 1, 8192, { free: () => free });
    memory.bind(0, 1, planOf(bound));
    for (const tokens of [256, 384, 576]) {
      memory.reach(0, tokens);
      memory.copyIn(0, tokens, new Uint8Array(tokens * memory.tokenBytes).fill(1));
    }
    memory.reach(0, 577);
    const bytes = presentBytes(new Uint8Array(bound[0]![0]!.data.buffer));
    assert.ok(memory.copyOut(0, 576).every((byte) => byte === 1));
    return bytes / (576 * memory.tokenBytes);
  };
  assert.ok(grown(1e12) > 1.25, 'a third is left behind');
  const short = grown(0);
  assert.ok(short < 1.1, `${short} times what it holds`);
});

test('a cache for which there are no addresses says how many tokens it was for', () => {
  const endless = [{ ...cache[0]!, heads: 1e6, headSize: 1024 }];
  assert.throws(() => new CacheMemory(library, endless, 4, 2 ** 20), {
    code: 'out_of_memory',
    message: /1048576/,
  });
});

for (const kvCache of ['float32', 'int8'] as const)
  test(`a ${kvCache} cache that grows has the logits, bit for bit, of one that has room at once`, async () => {
    const dir = await tinyModelDir({
      checkpoint: { config: { max_position_embeddings: contextLength } },
      build: { kvCache },
    });
    const atOnce = await answers(dir, 330);
    assert.deepEqual(await answers(dir, contextLength), atOnce);
  });

/** Logits of two rows that grow in turns, one of which is put back in between. */
async function answers(dir: string, length: number): Promise<Float32Array[]> {
  const options = { threads: 1, contextLength: length, rows: 2 };
  const opened = await openRuntime('native').openRows(join(dir, 'model.onnx'), options);
  const [one, other] = opened.rows as [Sequence, Sequence];
  const idsFrom = (start: number, count: number) =>
    Array.from({ length: count }, (_, i) => ((start + i) * 37) % 250);
  const seen: Float32Array[] = [];
  try {
    seen.push((await one.forward(idsFrom(0, 96))).slice());
    const snapshot = one.snapshots!.take(96);
    for (let at = 0; at < 320; at += 64) seen.push((await other.forward(idsFrom(at, 64))).slice());
    for (const id of [1, 2, 3]) {
      const logits = await Promise.all([one.forward([id]), other.forward([id + 7])]);
      seen.push(...logits.map((values) => values.slice()));
    }
    await other.snapshots!.restore(96, snapshot);
    seen.push((await other.forward([1])).slice());
    for (let at = 99; at < 291; at += 96) seen.push((await one.forward(idsFrom(at, 96))).slice());
    one.rewind(288);
    const whole = one.snapshots!.take(288);
    const next = (await one.forward([1])).slice();
    for (const row of [one, other]) row.reset();
    await one.snapshots!.restore(288, whole);
    assert.deepEqual((await one.forward([1])).slice(), next);
    return seen;
  } finally {
    await opened.dispose();
  }
}

function anonymousBytes(): number {
  return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

/** Of a piece of memory, the pages that are there: the highest bit of what the kernel says of each. */
function presentBytes(memory: Uint8Array): number {
  const page = 4096;
  const entries = new BigUint64Array(Math.ceil(memory.length / page));
  const file = openSync('/proc/self/pagemap', 'r');
  readSync(
    file,
    entries,
    0,
    entries.byteLength,
    Math.floor(Number(library.koffi.address(memory)) / page) * 8,
  );
  closeSync(file);
  return entries.filter((entry) => entry >> 63n === 1n).length * page;
}
