import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { identify } from '../../src/builder/side-files.ts';
import type { ModelSource } from '../../src/ipc/messages.ts';
import { SlmdError } from '../../src/lib/errors.ts';
import { shippedModel } from '../../src/lib/package-root.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { engineBytes, sizeOf } from '../../src/model/memory-need.ts';
import { activate } from '../../src/supply/activate.ts';
import { readPointer } from '../../src/supply/pointer.ts';
import { readSmokePrompts } from '../../src/supply/smoke.ts';
import { sourceFile } from '../../src/supply/source.ts';
import { ModelStore } from '../../src/supply/store.ts';
import { type Ran, startCommand } from '../support/command.ts';
import { writeGenaiModel, writeTransformersJsModel } from '../support/foreign-model.ts';
import { leash } from '../support/leash.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const tiny = await tinyModelDir({ build: { quantization: 'float32' } });
const child = join(import.meta.dirname, '..', 'support', 'activate-in-child.ts');

interface Given {
  store: ModelStore;
  /** Puts a copy of the tiny model into the store, with these files in place of its own. */
  add(name: string, files?: Record<string, string | Buffer>): string;
  slmd(...args: string[]): Promise<Ran>;
}

function given(t: TestContext, env: NodeJS.ProcessEnv = {}): Given {
  const store = new ModelStore(join(temporaryDir(t), 'store'));
  return {
    store,
    add: (name, files = {}) => {
      const dir = store.pathOf(name);
      cpSync(tiny, dir, { recursive: true });
      for (const [file, content] of Object.entries(files)) replace(dir, file, Buffer.from(content));
      return dir;
    },
    slmd: (...args) => startCommand(['model', ...args], { SLMD_MODEL_STORE: store.dir, ...env }).ran,
  };
}

/** Writes a file that the manifest vouches for. */
function replace(dir: string, name: string, content: Buffer): void {
  const path = join(dir, 'slmd-model.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  manifest.files[name] = identify(content);
  writeFileSync(path, JSON.stringify(manifest));
  writeFileSync(join(dir, name), content);
}

function assertCoded({ code, stdout, stderr }: Ran, expected: string): void {
  assert.deepEqual([code, stdout], [1, ''], stderr);
  assert.ok(stderr.includes(`slmd: ${expected}: `) && !stderr.includes('    at '), stderr);
}

test('a model that loads and answers is active, and the one before it is after a rollback', async (t) => {
  const { store, add, slmd } = given(t);
  for (const name of ['a', 'b']) {
    add(name);
    const { code, stdout, stderr } = await slmd('activate', name);
    assert.deepEqual([code, stdout], [0, `active: ${name}\n`], stderr);
  }
  assert.equal((await slmd('rollback')).stdout, 'active: a\n');
  assert.equal((await slmd('activate', '--shipped')).code, 0);
  assert.deepEqual(store.pointer, { active: null, history: ['a'] });
});

test('a model that does not load, or computes no finite logits, is refused and changes nothing', async (t) => {
  const { store, add, slmd } = given(t);
  add('a');
  store.activate('a');
  const { length } = readFileSync(join(tiny, 'model.onnx.data'));
  add('garbage', { 'model.onnx': 'no graph at all' });
  add('infinite', { 'model.onnx.data': Buffer.alloc(length, 0xff) });
  writeFileSync(join(add('damaged'), 'tokenizer.json'), '{}');
  for (const name of ['garbage', 'infinite', 'damaged'])
    assertCoded(await slmd('activate', name), 'model_refused');
  assert.deepEqual(store.pointer, { active: 'a', history: [null] });
});

test('a model must answer its smoke prompts as it says', async (t) => {
  const { store, add, slmd } = given(t);
  const smoke = (expect?: string) => ({
    'smoke.json': JSON.stringify([
      { prompt: 'Hello', max_tokens: 4 },
      { prompt: 'Hello', max_tokens: 4, expect },
    ]),
  });
  add('any', smoke());
  add('otherwise', smoke('an answer that these weights do not give'));
  add('no-list', { 'smoke.json': '{}' });
  assert.equal((await slmd('activate', 'any')).code, 0);
  assertCoded(await slmd('activate', 'otherwise'), 'model_refused');
  assertCoded(await slmd('activate', 'no-list'), 'model_invalid');
  assert.equal(store.pointer.active, 'any');
});

test('a model that cannot fit into the memory is refused before it is tried, with the numbers, unless it is forced', async (t) => {
  const { store, add, slmd } = given(t);
  const path = join(add('huge'), 'slmd-model.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  writeFileSync(path, JSON.stringify({ ...manifest, parameters: 4e12 }));
  const refused = await slmd('activate', 'huge');
  assertCoded(refused, 'model_too_large');
  assert.match(refused.stderr, /\d MB .* weights.* 256 tokens.*\d MB/);
  assert.equal((await slmd('activate', 'huge', '--force')).code, 0);
  assert.equal(store.pointer.active, 'huge');
});

test('a model that fits without its cache is tried, because the cache takes memory as it is written', async (t) => {
  const { store, add } = given(t);
  add('a');
  const size = sizeOf(manifestIn(store.pathOf('a')));
  const tried: string[] = [];
  const tryModel = async ({ dir }: ModelSource) => void tried.push(dir);
  const within = (bytes: number) =>
    activate(store, 'a', { trust: null, tryModel, memory: { bytes, contextTokens: 64, chunkTokens: 32 } });
  await assert.rejects(within(engineBytes(size, { contextTokens: 0, chunkTokens: 32 }) - 1), {
    code: 'model_too_large',
  });
  assert.deepEqual([tried, store.pointer.active], [[], null]);
  await within(engineBytes(size, { contextTokens: 0, chunkTokens: 32 }));
  assert.deepEqual([tried, store.pointer.active], [[store.pathOf('a')], 'a']);
});

test('the model that ships is tried as any other, whoever signs models, and what is active stays where it fails', async (t) => {
  const { store, add } = given(t);
  add('a');
  store.activate('a');
  const tried: ModelSource[] = [];
  const trust = { public_keys: 'of somebody', required: true };
  const failing = async (source: ModelSource) => {
    tried.push(source);
    throw new SlmdError('smoke_failed', 'no answer');
  };
  await assert.rejects(activate(store, null, { trust, tryModel: failing }), { code: 'model_refused' });
  assert.deepEqual([tried, store.pointer.active], [[{ dir: shippedModel(), trust: null }], 'a']);
  const memory = { bytes: 1, contextTokens: 64, chunkTokens: 32 };
  await assert.rejects(activate(store, null, { trust, tryModel: failing, memory }), {
    code: 'model_too_large',
  });
  await activate(store, null, { trust, tryModel: async () => undefined });
  assert.equal(store.pointer.active, null);
});

test('the model that ships can be activated where there is no store yet', async (t) => {
  const { store, slmd } = given(t);
  const { code, stderr } = await slmd('activate', '--shipped');
  assert.equal(code, 0, stderr);
  assert.equal(readPointer(store.dir).active, null);
});

test('a model that is larger than its board’s profile advises is said to be, and activated all the same', async (t) => {
  const { add, slmd } = given(t, { SLMD_MODEL_BYTES_MAX: '1000' });
  add('a');
  assert.match((await slmd('inspect', 'a')).stdout, /^on this board .*model\.bytes_max/m);
  const { code, stderr } = await slmd('activate', 'a');
  assert.deepEqual([code, /model\.bytes_max/.test(stderr)], [0, true], stderr);
  const { slmd: roomy } = given(t, { SLMD_MODEL_BYTES_MAX: '1000000000' });
  assert.ok(!(await roomy('inspect', tiny)).stdout.includes('bytes_max'));
});

test('the model that ships has smoke prompts of its own, and answers them as they say', async (t) => {
  const { store, slmd } = given(t);
  const prompts = await readSmokePrompts(shippedModel());
  assert.ok(prompts.length > 1 && prompts.every(({ expect }) => expect !== undefined));
  cpSync(shippedModel(), store.pathOf('home'), { recursive: true });
  const { code, stderr } = await slmd('activate', 'home');
  assert.equal(code, 0, stderr);
});

test('with a key only what its owner signed is activated', async (t) => {
  const dir = temporaryDir(t);
  const env = { SLMD_MODEL_PUBLIC_KEY_FILE: join(dir, 'k.public.pem') };
  const { store, add, slmd } = given(t, env);
  await startCommand(['model', 'keygen', join(dir, 'k')]).ran;
  add('a');
  assertCoded(await slmd('activate', 'a'), 'model_untrusted');
  assert.equal(
    (await startCommand(['model', 'sign', store.pathOf('a'), '--key', join(dir, 'k.private.pem')]).ran).code,
    0,
  );
  assert.equal((await slmd('activate', 'a')).code, 0);
  assert.equal(store.pointer.active, 'a');
});

test('what is no model directory is not activated, and what is not there neither', async (t) => {
  const { store, slmd } = given(t);
  cpSync(join(tiny, 'config.json'), join(store.pathOf('checkpoint'), 'config.json'), { recursive: true });
  assertCoded(await slmd('activate', 'checkpoint'), 'model_not_runnable');
  for (const unknown of ['nonsense', tiny]) assertCoded(await slmd('activate', unknown), 'model_unknown');
  assertCoded(await slmd('rollback'), 'nothing_to_roll_back');
  const wrongs = ['activate', 'activate a --shipped', 'activate --shipped --variant q4', 'rollback a'];
  for (const wrong of wrongs.map((line) => line.split(' ')))
    assert.equal((await slmd(...wrong)).code, 2, wrong.join(' '));
});

test('an activation that is killed at any step leaves the old model active or the new one, and nothing between', async (t) => {
  const seen = new Set<string | null>();
  for (let step = 1; ; step++) {
    const { store, add } = given(t);
    for (const name of ['old', 'new']) add(name);
    store.activate('old');
    const [command = '', ...args] = [...leash, process.execPath, child, store.dir, 'new', String(step)];
    const [code, signal] = await once(spawn(command, args, { stdio: 'inherit' }), 'exit');
    const pointer = readPointer(store.dir);
    seen.add(pointer.active);
    assert.ok(pointer.active === 'old' || pointer.active === 'new', `step ${step}`);
    store.activate('new');
    assert.deepEqual(store.pointer, { active: 'new', history: ['old', null] }, `step ${step}`);
    if (signal === null) {
      assert.deepEqual([code, pointer.active], [0, 'new']);
      break;
    }
    assert.equal(signal, 'SIGKILL');
  }
  assert.deepEqual([...seen], ['old', 'new']);
});

test('a model that others laid out is taken over when it is activated, and held to what it was', async (t) => {
  const { store, slmd } = given(t);
  await writeTransformersJsModel(store.pathOf('hub'), { suffix: '_q4' });
  await writeTransformersJsModel(store.pathOf('hub'), { build: { quantization: 'float32' } });
  const { code, stdout, stderr } = await slmd('activate', 'hub');
  assert.deepEqual([code, stdout], [0, 'active: hub\n'], stderr);
  const graph = () => manifestIn(store.pathOf('hub')).graph;
  assert.equal(graph(), 'onnx/model_q4.onnx');
  assert.equal((await slmd('verify', 'hub')).code, 0);
  assert.equal((await slmd('activate', 'hub', '--variant', 'fp32')).code, 0);
  assert.equal(graph(), 'onnx/model.onnx');
  assertCoded(await slmd('activate', 'hub', '--variant', 'q8'), 'model_missing');
  writeFileSync(join(store.pathOf('hub'), 'tokenizer.json'), '{}');
  assertCoded(await slmd('activate', 'hub'), 'model_refused');
  assertCoded(await slmd('verify', 'hub'), 'model_invalid');
});

test('a model that was pulled is not taken over when it is another than came', async (t) => {
  const { store, slmd } = given(t);
  const dir = store.pathOf('hub');
  await writeGenaiModel(dir);
  const files = Object.fromEntries(
    ['model.onnx', 'tokenizer.json'].map((name) => [
      name,
      { ...identify(readFileSync(join(dir, name))), vouched: true },
    ]),
  );
  const source = { format: 1, mirror: 'http://h', repo: 'a/b', revision: 'main', commit: null, files };
  writeFileSync(join(dir, sourceFile), JSON.stringify(source));
  const tokenizer = readFileSync(join(dir, 'tokenizer.json'));
  writeFileSync(join(dir, 'tokenizer.json'), `${tokenizer.toString()} `);
  assertCoded(await slmd('activate', 'hub'), 'hash_mismatch');
  writeFileSync(join(dir, 'tokenizer.json'), tokenizer);
  assert.equal((await slmd('activate', 'hub')).code, 0);
});

test('with a key a model that others laid out is signed as any other, and only then activated', async (t) => {
  const dir = temporaryDir(t);
  const { store, slmd } = given(t, { SLMD_MODEL_PUBLIC_KEY_FILE: join(dir, 'k.public.pem') });
  await startCommand(['model', 'keygen', join(dir, 'k')]).ran;
  await writeGenaiModel(store.pathOf('hub'));
  assertCoded(await slmd('activate', 'hub'), 'model_untrusted');
  const key = join(dir, 'k.private.pem');
  assert.equal((await startCommand(['model', 'sign', store.pathOf('hub'), '--key', key]).ran).code, 0);
  assert.equal((await slmd('activate', 'hub')).code, 0);
});

test('a model that others laid out and that cannot be run is refused by its code', async (t) => {
  const { store, slmd } = given(t);
  const pixels = { input_ids: 'pixel_values' };
  await writeTransformersJsModel(store.pathOf('eyes'), { form: { names: pixels } });
  assertCoded(await slmd('activate', 'eyes'), 'model_unsupported');
  const { stdout } = await slmd('inspect', 'eyes');
  assert.match(stdout, /^runs +no, model_unsupported: .*pixel_values/m);
  await writeTransformersJsModel(store.pathOf('text'));
  assert.match((await slmd('inspect', 'text')).stdout, /^runs +yes, .*\nnext +slmd model activate text$/m);
});

function manifestIn(dir: string): Manifest {
  return JSON.parse(readFileSync(join(dir, 'slmd-model.json'), 'utf8')) as Manifest;
}
