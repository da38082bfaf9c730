import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { BuildOptions } from '../../src/builder/build-model.ts';
import { PrefixStore, type PrefixStoreOptions } from '../../src/engine/prefix-store.ts';
import type { GenerateMessage } from '../../src/ipc/messages.ts';
import { writeGenaiModel } from '../support/foreign-model.ts';
import { ForkedEngine, request } from '../support/forked-engine.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const system = 'You are the house. '.repeat(5);
const ask = (content: string): Omit<GenerateMessage, 'key'> =>
  request('', {
    max_tokens: 8,
    messages: [
      { role: 'system', content: system },
      { role: 'user', content },
    ],
  });
const filesIn = (dir: string) =>
  (existsSync(dir) ? readdirSync(dir) : []).filter((name) => /\.prefix/.test(name));

interface StartOptions {
  bytes_max?: number;
  seed?: number;
  build?: BuildOptions;
  /** A directory in place of one that is built. */
  model?: string;
}

/** An engine process that keeps prefixes in a directory; the model's weights follow from the seed. */
async function start(
  t: TestContext,
  dir: string,
  { bytes_max = 1_000_000, seed = 1, build = {}, model = '' }: StartOptions = {},
) {
  const modelDir = model || (await tinyModelDir({ checkpoint: { seed }, build }));
  const engine = await ForkedEngine.loaded(modelDir, { prefixes: { dir, bytes_max } });
  t.after(() => engine.stop());
  return engine;
}

/** Asks until a prefix is on the disk: it is written while answers go on. */
async function store(t: TestContext, dir: string, options: StartOptions = {}): Promise<ForkedEngine> {
  const engine = await start(t, dir, options);
  await engine.run(ask('Open the blinds.'));
  await engine.run(ask('Close the door.'));
  for (let i = 0; i < 200; i++) {
    if (filesIn(dir).some((name) => name.endsWith('.prefix'))) return engine;
    await engine.run(request('x'));
  }
  throw new Error('no prefix was written');
}

async function assertSurvives(t: TestContext, options: StartOptions = {}): Promise<void> {
  const dir = join(temporaryDir(t), 'prefixes');
  const first = await store(t, dir, options);
  const expected = await (await start(t, join(temporaryDir(t), 'empty'), options)).run(ask('Is it warm?'));
  first.child.kill('SIGKILL');
  const engine = await start(t, dir, options);
  const done = await engine.run(ask('Is it warm?'));
  assert.equal(expected.usage.cached_tokens, 0);
  assert.ok(done.usage.cached_tokens >= 64 && done.usage.cached_tokens % 32 === 0);
  assert.equal(done.text, expected.text);
  const [name] = filesIn(dir);
  assert.equal(statSync(join(dir, name!)).mode & 0o777, 0o600);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
}

test('[SLMD-RES-9] what two prompts share is there when the engine was killed and started again, and the answer is the same', (t) =>
  assertSurvives(t));

test('[SLMD-RES-9] so it is with a graph that others exported, where past and present are one memory', async (t) => {
  const model = join(temporaryDir(t), 'tiny');
  await writeGenaiModel(model);
  await assertSurvives(t, { model });
});

test('a prefix of an int8 KV cache is a quarter as large, comes back as it was, and is of no use to a float32 one', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  const build = { kvCache: 'int8' } as const;
  await store(t, dir, { build });
  const expected = await (await start(t, join(temporaryDir(t), 'empty'), { build })).run(ask('Is it warm?'));
  const done = await (await start(t, dir, { build })).run(ask('Is it warm?'));
  assert.ok(done.usage.cached_tokens >= 64);
  assert.equal(done.text, expected.text);
  const [bytes] = filesIn(dir).map((name) => statSync(join(dir, name)).size);
  const tokens = done.usage.cached_tokens;
  const tokenBytes = 2 * 2 * 2 * 16; // Layers, keys and values, heads, head size.
  assert.ok(bytes! >= tokens * (4 + tokenBytes) && bytes! < 2 * tokens * (4 + tokenBytes), `${bytes}`);
  const other = await (await start(t, dir)).run(ask('Is it warm?'));
  assert.equal(other.usage.cached_tokens, 0);
  assert.deepEqual(filesIn(dir), []);
});

test('a stored prefix that is damaged anywhere is not used and is removed, with a line that quotes nothing', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  await store(t, dir);
  const path = join(dir, filesIn(dir)[0]!);
  const whole = readFileSync(path);
  const flipped = (at: number) => {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 1;
    return bytes;
  };
  const damages = [3, 20, 60, 80, 90, whole.length - 1].map(flipped);
  for (const bytes of [
    ...damages,
    whole.subarray(0, whole.length - 4),
    whole.subarray(0, 50),
    Buffer.alloc(0),
  ]) {
    writeFileSync(path, bytes);
    const engine = await start(t, dir);
    const { usage } = await engine.run(ask('Is it warm?'));
    assert.equal(usage.cached_tokens, 0);
    assert.deepEqual(filesIn(dir), []);
    assert.match(engine.output, /^slmd engine: .*prefix.*\n$/);
    await engine.stop();
  }
  writeFileSync(path, whole);
  const engine = await start(t, dir);
  assert.ok((await engine.run(ask('Is it warm?'))).usage.cached_tokens >= 64);
  assert.equal(engine.output, '');
});

test('prefixes of another model are removed and not used; what is not one of ours is left alone', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  await store(t, dir);
  writeFileSync(join(dir, 'notes.txt'), 'mine');
  const engine = await start(t, dir, { seed: 2 });
  assert.equal((await engine.run(ask('Is it warm?'))).usage.cached_tokens, 0);
  assert.deepEqual(readdirSync(dir), ['notes.txt']);
});

test('with no bytes for it nothing is written, and what was written before is removed', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  await store(t, dir);
  const engine = await start(t, dir, { bytes_max: 0 });
  for (const content of ['Open the blinds.', 'Close the door.', 'Is it warm?'])
    await engine.run(ask(content));
  assert.deepEqual(filesIn(dir), []);
});

test('a directory that cannot be written is one line in the log, and prompts are answered', async (t) => {
  const file = join(temporaryDir(t, { occupied: '' }), 'occupied');
  const engine = await start(t, join(file, 'prefixes'));
  await engine.run(ask('Open the blinds.'));
  assert.ok((await engine.run(ask('Close the door.'))).usage.cached_tokens >= 64);
  assert.match(engine.output, /^slmd engine: [^\n]*\n$/);
});

test('a conversation that grows is not written at every turn', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  const engine = await start(t, dir);
  const messages: GenerateMessage['messages'] = [{ role: 'user', content: 'x'.repeat(70) }];
  for (const content of ['one', 'two', 'three']) {
    const { text } = await engine.run(request('', { messages, max_tokens: 4 }));
    messages.push({ role: 'assistant', content: text }, { role: 'user', content });
  }
  await engine.stop();
  assert.deepEqual(filesIn(dir), []);
});

/** A store of prefixes of 100 tokens with two floats each. */
function storeIn(dir: string, more: Partial<PrefixStoreOptions> = {}) {
  const said: string[] = [];
  const options = { dir, bytes_max: 5200, facts: ['a'], token_bytes: 8, context_length: 1000 };
  return { said, store: new PrefixStore({ ...options, say: (line) => said.push(line), ...more }) };
}
const idsFrom = (start: number, tokens = 100) => Array.from({ length: tokens }, (_, i) => start + i);

async function keep(store: PrefixStore, ids: number[]): Promise<void> {
  assert.ok(store.wants(ids));
  store.save(ids, () => new Uint8Array(ids.length * 8).fill(ids[0]!));
  await store.close();
}

test('when there is no more room the prefix goes that was not used for longest, over restarts too', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  const { store } = storeIn(dir);
  await store.open();
  for (const start of [0, 1000, 2000, 3000]) await keep(store, idsFrom(start));
  const used = await store.load([...idsFrom(0), 7, 8, 9]);
  assert.deepEqual([used?.ids.length, used?.snapshot.length, used?.snapshot[0]], [100, 800, 0]);
  await keep(store, idsFrom(4000));
  const { store: next } = storeIn(dir);
  await next.open();
  const held = (some: PrefixStore) =>
    [0, 1000, 2000, 3000, 4000].map((start) => some.reusable(idsFrom(start)));
  assert.deepEqual(held(next), held(store));
  assert.deepEqual(held(next), [96, 0, 96, 96, 96]);
});

test('a longer prefix takes the place of its beginning, and what is stored already, short or too large is not wanted', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  const { store } = storeIn(dir);
  await store.open();
  await keep(store, idsFrom(0, 64));
  await keep(store, idsFrom(0, 128));
  assert.equal(filesIn(dir).length, 1);
  assert.equal(store.reusable(idsFrom(0, 500)), 128);
  for (const ids of [idsFrom(0, 96), idsFrom(9000, 63), idsFrom(9000, 500)]) assert.ok(!store.wants(ids));
});

test('a part of a file that a kill has left is removed', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  mkdirSync(dir);
  writeFileSync(join(dir, 'abc.prefix.part'), 'half');
  const { store } = storeIn(dir);
  await store.open();
  assert.deepEqual(filesIn(dir), []);
});

test('a copy that would take much of the free memory is neither made nor read, and one that cannot be made is given up', async (t) => {
  const dir = join(temporaryDir(t), 'prefixes');
  let free = 1e9;
  const { store, said } = storeIn(dir, { memory_free: () => free });
  await store.open();
  await keep(store, idsFrom(0));
  free = 3000;
  assert.ok(!store.wants(idsFrom(1000)));
  const prompt = [...idsFrom(0), 7, 8, 9];
  assert.equal(await store.load(prompt), null);
  free = 1e9;
  assert.equal((await store.load(prompt))?.ids.length, 100, 'it is there when there is room again');
  store.save(idsFrom(1000), () => new Uint8Array(Number.MAX_SAFE_INTEGER));
  await store.close();
  assert.equal(said.length, 1);
  assert.ok(!store.wants(idsFrom(2000)));
  assert.equal((await store.load(prompt))?.ids.length, 100);
});
