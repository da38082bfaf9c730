import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import * as common from 'onnxruntime-common';
import { shippedModel } from '../../src/lib/package-root.ts';
import { openLibrary, registerNativeBackend } from '../../src/onnx/ffi/index.ts';
import { countingLibrary } from '../support/counting-library.ts';
import { identity, slowPower } from '../support/one-node.ts';
import { loadGraph } from '../support/onnx-runner.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const { InferenceSession, Tensor } = common;
registerNativeBackend(common);

const native = { executionProviders: ['native'], intraOpNumThreads: 1 };
const float32 = (values: number[], dims = [values.length]) =>
  new Tensor('float32', Float32Array.from(values), dims);

test('a session is made from a path, from bytes and from a part of a buffer', async (t) => {
  const bytes = identity('float32', ['n']);
  const path = join(temporaryDir(t), 'identity.onnx');
  writeFileSync(path, bytes);
  const padded = new Uint8Array(bytes.length + 20);
  padded.set(bytes, 10);
  for (const session of [
    await InferenceSession.create(path, native),
    await InferenceSession.create(bytes, native),
    await InferenceSession.create(padded.buffer, 10, bytes.length, native),
  ]) {
    const { out } = await session.run({ in: float32([1, 2, 3]) });
    assert.deepEqual([...(out!.data as Float32Array)], [1, 2, 3]);
    assert.deepEqual(out!.dims, [3]);
    await session.release();
  }
});

test('names, types and shapes are those that onnxruntime-node gives, for every kind of graph', async () => {
  const models = [identity('float16', []), identity('bool', [2, '']), slowPower(1)];
  for (const dir of [
    await tinyModelDir(),
    await tinyModelDir({ build: { logits: 'all' } }),
    shippedModel(),
  ]) {
    const path = join(dir, 'model.onnx');
    const [a, b] = [await InferenceSession.create(path, native), await nodeSession(path)];
    assert.deepEqual([a.inputNames, a.outputNames], [b.inputNames, b.outputNames]);
    assert.deepEqual([a.inputMetadata, a.outputMetadata], [b.inputMetadata, b.outputMetadata]);
    await Promise.all([a.release(), b.release()]);
  }
  for (const model of models) {
    const [a, b] = [await InferenceSession.create(model, native), await loadGraph(model)];
    assert.deepEqual([a.inputMetadata, a.outputMetadata], [b.inputMetadata, b.outputMetadata]);
    await Promise.all([a.release(), b.release()]);
  }
});

function nodeSession(path: string) {
  const runtime = createRequire(import.meta.url)('onnxruntime-node') as typeof import('onnxruntime-node');
  return runtime.InferenceSession.create(path, { logSeverityLevel: 4 });
}

test('every element type goes in and comes out, scalars and empty tensors included', async () => {
  const half = (globalThis as { Float16Array?: { from(values: number[]): NodeJS.TypedArray } }).Float16Array;
  const samples = {
    float32: Float32Array.of(1.5, -2, Number.NaN, 0, 1, 2),
    uint8: Uint8Array.of(0, 255, 3, 4, 5, 6),
    int8: Int8Array.of(-128, 127, 3, 4, 5, 6),
    int32: Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 3, 4, 5, 6),
    int64: BigInt64Array.of(-(2n ** 63n), 2n ** 63n - 1n, 3n, 4n, 5n, 6n),
    bool: Uint8Array.of(0, 1, 1, 0, 1, 0),
    float16: half?.from([1.5, -2, 3, 4, 5, 6]) ?? Uint16Array.of(1, 2, 3, 4, 5, 6),
  } as const;
  for (const [type, data] of Object.entries(samples)) {
    const session = await InferenceSession.create(identity(type as keyof typeof samples), native);
    const feed = new Tensor(type as 'float32', data as Float32Array, [2, 3]);
    const { out } = await session.run({ in: feed });
    assert.deepEqual([out!.type, out!.dims, out!.data], [type, [2, 3], data]);
    const empty = new Tensor(type as 'float32', data.slice(0, 0) as Float32Array, [0, 3]);
    const nothing = await session.run({ in: empty });
    assert.deepEqual([nothing.out!.dims, nothing.out!.data.length], [[0, 3], 0]);
    const given = new Tensor(type as 'float32', data.slice(0, 0) as Float32Array, [0, 3]);
    assert.equal((await session.run({ in: empty }, { out: given })).out, given);
    await session.release();
  }
  const scalar = await InferenceSession.create(identity('float32', []), native);
  assert.deepEqual((await scalar.run({ in: float32([4], []) })).out!.dims, []);
  await scalar.release();
});

test('an output tensor that was given comes back as the same object, and its memory has the result', async () => {
  const session = await InferenceSession.create(identity('float32', ['n']), native);
  const out = float32([0, 0, 0]);
  for (const values of [
    [1, 2, 3],
    [4, 5, 6],
    [7, 8, 9],
  ]) {
    const results = await session.run({ in: float32(values) }, { out });
    assert.equal(results.out, out);
    assert.deepEqual([...out.data], values);
  }
  await session.release();
});

test('a kept tensor is read anew at every run', async () => {
  const session = await InferenceSession.create(identity('float32', ['n']), native);
  const feed = float32([0, 0]);
  for (let i = 0; i < 5; i++) {
    feed.data[1] = i;
    assert.deepEqual([...((await session.run({ in: feed })).out!.data as Float32Array)], [0, i]);
  }
  await session.release();
});

test('the event loop turns while a run computes', async () => {
  const session = await InferenceSession.create(slowPower(400), native);
  let turns = 0;
  let over = false;
  const run = session.run({ in: float32(new Array(128 * 128).fill(0), [128, 128]) }).finally(() => {
    over = true;
  });
  while (!over) {
    await new Promise(setImmediate);
    turns++;
  }
  await run;
  assert.ok(turns > 5, `${turns} turns`);
  await session.release();
});

test('runs that are asked for at once wait for each other, and each has its own result', async () => {
  const session = await InferenceSession.create(identity('float32', ['n']), native);
  const runs = Array.from({ length: 50 }, (_, i) => session.run({ in: float32([i, i + 1]) }));
  const released = session.release();
  for (const [i, { out }] of (await Promise.all(runs)).entries())
    assert.deepEqual([...(out!.data as Float32Array)], [i, i + 1]);
  await released;
  await assert.rejects(session.run({ in: float32([1]) }));
  await session.release();
});

test('an abort ends a run that computes, and one that waits, with the reason; the session goes on', async () => {
  const session = await InferenceSession.create(slowPower(1000), native);
  const feed = float32(new Array(256 * 256).fill(0), [256, 256]);
  const abort = new AbortController();
  const options = { signal: abort.signal } as common.InferenceSession.RunOptions;
  const [running, waiting] = [session.run({ in: feed }, options), session.run({ in: feed }, options)];
  const reason = new Error('enough');
  // A turn of the event loop: the first run has been handed over by then.
  setImmediate(() => abort.abort(reason));
  await assert.rejects(running, (thrown) => thrown === reason);
  await assert.rejects(waiting, (thrown) => thrown === reason);
  await session.release();
});

test('an error has the code and the words of ONNX Runtime, and the session can be used after it', async () => {
  await assert.rejects(InferenceSession.create('nowhere.onnx', native), { code: 'ORT_NO_SUCHFILE' });
  await assert.rejects(InferenceSession.create(Uint8Array.of(1, 2, 3), native), {
    code: 'ORT_INVALID_PROTOBUF',
  });
  const session = await InferenceSession.create(identity('float32', ['n']), native);
  await assert.rejects(session.run({ in: float32([1, 2], [1, 2]) }), {
    code: 'ORT_INVALID_ARGUMENT',
    message: /rank/i,
  });
  await assert.rejects(session.run({ in: float32([1, 2]) }, { out: float32([0]) }), { name: 'OrtError' });
  assert.equal((await session.run({ in: float32([1]) })).out!.data[0], 1);
  await session.release();
});

test('what cannot be passed is refused by name: strings, and options that would be ignored', async () => {
  const session = await InferenceSession.create(identity('float32', ['n']), native);
  await assert.rejects(session.run({ in: new Tensor('string', ['a'], [1]) }), { message: /string/ });
  await session.release();
  const options = { ...native, externalData: [] };
  await assert.rejects(InferenceSession.create(identity('float32'), options), { message: /externalData/ });
});

test('a tensor whose memory was given away is refused, not read', async () => {
  const session = await InferenceSession.create(identity('float32', ['n']), native);
  const feed = float32([1, 2]);
  for (let i = 0; i < 3; i++) await session.run({ in: feed });
  structuredClone(feed.data, { transfer: [(feed.data as Float32Array<ArrayBuffer>).buffer] });
  await assert.rejects(session.run({ in: feed }));
  await session.release();
});

test('session options and free-form configuration reach ONNX Runtime', async (t) => {
  const path = join(temporaryDir(t), 'optimized.onnx');
  const session = await InferenceSession.create(slowPower(2), {
    ...native,
    graphOptimizationLevel: 'all',
    enableMemPattern: false,
    enableCpuMemArena: false,
    executionMode: 'sequential',
    optimizedModelFilePath: path,
    logSeverityLevel: 4,
    extra: { session: { save_model_format: 'ORT' } },
  });
  // An entry of the free-form configuration: the file is not ONNX.
  assert.equal(readFileSync(path).subarray(4, 8).toString(), 'ORTM');
  await session.release();
  const wrong = { ...native, executionMode: 'sideways' as 'parallel' };
  await assert.rejects(InferenceSession.create(identity('float32'), wrong), { message: /sideways/ });
});

test('the copy of onnxruntime-common that CommonJS loads has a registry of its own, and can be served', async () => {
  const required = createRequire(import.meta.url)('onnxruntime-common') as typeof common;
  assert.notEqual(required.Tensor, Tensor);
  registerNativeBackend(required, { name: 'native' });
  const session = await required.InferenceSession.create(identity('float32', ['n']), native);
  const out = new required.Tensor('float32', new Float32Array(1), [1]);
  const results = await session.run({ in: new required.Tensor('float32', Float32Array.of(5), [1]) }, { out });
  assert.equal(results.out, out);
  assert.equal(out.data[0], 5);
  await session.release();
});

test('whatever is made is released, of runs that end well, that fail and that are aborted', async () => {
  const { library, made, released } = countingLibrary(openLibrary());
  registerNativeBackend(common, { library, name: 'counted' });
  const counted = { ...native, executionProviders: ['counted'] };
  const signal = new AbortController().signal;
  const session = await InferenceSession.create(identity('float32', ['n']), counted);
  for (let i = 0; i < 5; i++) {
    await session.run({ in: float32([i]) }, { out: float32([0]) }, { signal, tag: 'one' } as object);
    await assert.rejects(session.run({ in: float32([i]) }, { out: float32([0, 0]) }, { signal } as object));
    await assert.rejects(session.run({ in: float32([i]) }, { signal: AbortSignal.abort() } as object));
    await assert.rejects(session.run({ in: float32([i], [1, 1]) }));
    await assert.rejects(session.run({ in: new Tensor('string', ['a'], [1]) }));
  }
  const abort = new AbortController();
  const long = await InferenceSession.create(slowPower(1000), counted);
  const feed = float32(new Array(256 * 256).fill(0), [256, 256]);
  const run = long.run({ in: feed }, { signal: abort.signal } as object);
  setImmediate(() => abort.abort());
  await assert.rejects(run, { name: 'AbortError' });
  await assert.rejects(InferenceSession.create('nowhere.onnx', counted));
  await assert.rejects(
    InferenceSession.create(identity('float32'), { ...counted, executionMode: 'sideways' as 'parallel' }),
  );
  await Promise.all([session.release(), long.release()]);
  assert.ok((made.get('ReleaseStatus') ?? 0) >= 12, 'failures were seen');
  assert.ok((made.get('ReleaseRunOptions') ?? 0) >= 11, 'run options were seen');
  assert.deepEqual(Object.fromEntries([...released].sort()), Object.fromEntries([...made].sort()));
});

test('memory is flat over many thousand runs, failures, aborts and sessions', async () => {
  const script = join(import.meta.dirname, '../support/native-soak.ts');
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script, '10000']);
  const kilobytes = stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { anonymous_kb: number }).anonymous_kb);
  // The first reports still see the heap being tuned to its work.
  const [early, late] = [Math.max(...kilobytes.slice(2, 6)), Math.min(...kilobytes.slice(6))];
  assert.equal(kilobytes.length, 10);
  // 30,000 runs: a hundred bytes that leaked at each would be 1,600 kB over the half that is looked at.
  assert.ok(late - early < 1500, kilobytes.join(' '));
});
