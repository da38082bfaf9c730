import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEngine } from '../../src/engine/engine.ts';
import { NativeUnavailableError, openLibrary } from '../../src/onnx/ffi/index.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { engineOptions, ForkedEngine, request } from '../support/forked-engine.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const dir = await tinyModelDir();
const nowhere = '/nowhere/libonnxruntime.so.1';

test('a library that is not there, or is another one, is unavailable with a reason', () => {
  for (const path of [nowhere, 'libc.so.6', import.meta.filename])
    assert.throws(() => openLibrary({ path }), NativeUnavailableError);
});

test('where the library cannot be opened the other backend runs the model, and says why', async () => {
  const runtime = openRuntime('auto', nowhere);
  assert.equal(runtime.backend, 'node');
  assert.match(runtime.fallbackReason ?? '', /nowhere/);
  const { decoder } = await runtime.openDecoder(join(dir, 'model.onnx'), {
    threads: 1,
    contextLength: 64,
  });
  assert.ok((await decoder.forward([1, 2, 3])).every(Number.isFinite));
  await decoder.dispose();
});

test('the native backend that was asked for by name and cannot be is an error, not a fallback', () => {
  assert.throws(() => openRuntime('native', nowhere), { code: 'engine_failed' });
});

test('a backend that was asked for by name has no reason beside it, and both have one version', () => {
  const [native, node] = [openRuntime('native'), openRuntime('node')];
  assert.deepEqual([native.backend, native.fallbackReason], ['native', null]);
  assert.deepEqual([node.backend, node.fallbackReason], ['node', null]);
  assert.equal(native.version, node.version);
});

test('both backends give the same answer, and the engine says which it has', async () => {
  const texts: string[] = [];
  for (const backend of ['native', 'node'] as const) {
    const engine = await openEngine(dir, { ...engineOptions, backend });
    assert.equal(engine.info.engine.backend, backend);
    texts.push((await engine.generate(request('a prompt of several chunks: '.repeat(5)))).text);
    await engine.close();
  }
  assert.equal(texts[0], texts[1]);
});

test('an engine without koffi answers all the same, and says once why it is slower', async () => {
  // The loader finds no package of this name: what a device has whose install lacks it.
  const engine = new ForkedEngine({
    NODE_OPTIONS: `--require=${join(import.meta.dirname, '../support/without-koffi.cjs')}`,
  });
  const ready = await engine.load(dir);
  assert.ok(ready.type === 'ready');
  assert.equal(ready.info.engine.backend, 'node');
  assert.match(ready.info.engine.backend_reason ?? '', /koffi/);
  assert.equal((await engine.run(request('Hello'))).type, 'done');
  assert.equal(await engine.stop(), 'SIGKILL');
  assert.equal(engine.output.match(/^slmd engine: .*koffi/gm)?.length, 1);
});
