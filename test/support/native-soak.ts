/**
 * Runs a graph through the native backend, over and over, and says how much memory the process has:
 *
 *     node --expose-gc test/support/native-soak.ts 1000000
 *
 * Each round has a fresh feed, a kept feed, an output that is given and one that is not, an error and an
 * abort now and then, and a session that is made and released every thousand runs.
 */

import { readFileSync } from 'node:fs';
import * as common from 'onnxruntime-common';
import { registerNativeBackend } from '../../src/onnx/ffi/index.ts';
import { identity } from './one-node.ts';

const runs = Number(process.argv[2] ?? 10_000);
const reports = 10;
const model = identity('float32', ['n']);

registerNativeBackend(common);
const open = () =>
  common.InferenceSession.create(model, { executionProviders: ['native'], intraOpNumThreads: 1 });
const tensor = (size: number) => new common.Tensor('float32', new Float32Array(size).fill(7), [size]);

const kept = tensor(64);
const out = tensor(64);
let session = await open();
for (let run = 1; run <= runs; run++) {
  await session.run({ in: tensor(64) }, { out });
  await session.run({ in: kept }, { out });
  const { out: copied } = await session.run({ in: kept });
  if (copied?.data[63] !== 7) throw new Error('a result is wrong');
  if (run % 10 === 0) await session.run({ in: tensor(64) }, { out: tensor(3) }).then(wrong, () => {});
  if (run % 10 === 5)
    await session.run({ in: kept }, { signal: AbortSignal.abort() } as object).then(wrong, () => {});
  if (run % 10 === 6) await session.run({ in: kept }, { signal: new AbortController().signal } as object);
  if (run % 1000 === 0) {
    await session.release();
    session = await open();
  }
  if (run % Math.ceil(runs / reports) === 0) report(run);
}
await session.release();

function wrong(): never {
  throw new Error('a run that must fail did not');
}

function report(run: number): void {
  globalThis.gc?.();
  const rss = /^RssAnon:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  console.log(JSON.stringify({ run, anonymous_kb: Number(rss) }));
}
