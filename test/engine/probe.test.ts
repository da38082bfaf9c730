import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { countAccuracyLevel, replaceAccuracyLevel } from '../../src/onnx/accuracy-level.ts';
import { chooseCompute, computeByRule } from '../../src/onnx/choose-compute.ts';
import { hasByteProducts } from '../../src/onnx/cpu.ts';
import { firstRow } from '../../src/onnx/decoder.ts';
import { openLibrary } from '../../src/onnx/ffi/index.ts';
import { readGraphFile } from '../../src/onnx/graph-file.ts';
import { readGraphInterface } from '../../src/onnx/graph-interface.ts';
import { openNativeRows } from '../../src/onnx/native-decoder.ts';
import { candidates, fastest, measure } from '../../src/onnx/probe.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const library = openLibrary();
const small = { hiddenSize: 96, layers: 3, parameters: 300_000, blockSize: 32 };
const large = { hiddenSize: 896, layers: 24, parameters: 494_000_000, blockSize: 128 };

/** A board by its /proc/cpuinfo. */
function board(t: TestContext, cpuinfo: string): string {
  const root = temporaryDir(t);
  mkdirSync(join(root, 'proc'));
  writeFileSync(join(root, 'proc/cpuinfo'), cpuinfo);
  return root;
}

const cortexA72 = 'processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n';
const cortexA76 =
  'processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n';

test('int8 arithmetic is fast where every core has its instructions, and where nobody can tell', (t) => {
  assert.equal(hasByteProducts(board(t, cortexA72)), false);
  assert.equal(hasByteProducts(board(t, cortexA76)), true);
  assert.equal(hasByteProducts(board(t, `${cortexA76}${cortexA72}`)), false);
  assert.equal(hasByteProducts(board(t, 'flags\t\t: fpu sse2 ssse3 avx avx2 fma\n')), true);
  assert.equal(hasByteProducts(board(t, 'flags\t\t: fpu sse2 ssse3\n')), false);
  assert.equal(hasByteProducts(temporaryDir(t)), true);
});

test('fewer threads and no spinning are tried first, and no more threads than the board has cores', () => {
  const tried = (threads: number) => candidates(threads).map(({ threads, spinUs }) => [threads, spinUs]);
  assert.deepEqual(tried(1), [[1, 0]]);
  assert.deepEqual(tried(2), [
    [1, 0],
    [2, 0],
    [2, 20],
  ]);
  assert.deepEqual(tried(4), [
    [1, 0],
    [2, 0],
    [2, 20],
    [4, 0],
    [4, 20],
  ]);
});

test('the fastest is the first that no other beats by more than noise', () => {
  const measured = (...ms: number[]) =>
    fastest(ms.map((ms, i) => ({ ms, compute: { threads: i + 1, spinUs: 0, accuracyLevel: null } }))).compute
      .threads;
  assert.equal(measured(10, 9.5, 9.2), 1);
  assert.equal(measured(10, 8, 7.9), 2);
  assert.equal(measured(30, 20, 10), 3);
  assert.equal(measured(10), 1);
});

test('every candidate is measured, with models of any size, and what is measured is a time', async () => {
  for (const shape of [small, large]) {
    const tries = candidates(2);
    const measured = await measure(library, shape, tries);
    assert.deepEqual(
      measured.map(({ compute }) => compute),
      tries,
    );
    assert.ok(measured.every(({ ms }) => ms > 0 && Number.isFinite(ms)));
  }
});

test('threads that were asked for are not measured, and others are chosen from the candidates', async () => {
  const path = join(await tinyModelDir(), 'model.onnx');
  assert.deepEqual(await chooseCompute(library, path, small, 3), {
    compute: { threads: 3, spinUs: 0, accuracyLevel: null },
    chosenBy: 'setting',
  });
  const most = computeByRule(0);
  assert.equal(most.chosenBy, 'cores');
  const chosen = await chooseCompute(library, path, small, 0);
  assert.ok(
    candidates(most.compute.threads).some((one) => JSON.stringify(one) === JSON.stringify(chosen.compute)),
  );
  assert.equal(chosen.chosenBy, most.compute.threads === 1 ? 'cores' : 'probe');
});

test('without fast int8 arithmetic the accuracy level is chosen by a measurement, if the graph has one', async (t) => {
  const root = board(t, cortexA72);
  const path = join(await tinyModelDir(), 'model.onnx');
  const { compute } = await chooseCompute(library, path, small, 1, root);
  assert.ok(compute.accuracyLevel === 4 || compute.accuracyLevel === 0);
  const float32 = join(await tinyModelDir({ build: { quantization: 'float32' } }), 'model.onnx');
  assert.equal((await chooseCompute(library, float32, small, 1, root)).compute.accuracyLevel, null);
  assert.equal(
    (await chooseCompute(library, path, small, 1, board(t, cortexA76))).compute.accuracyLevel,
    null,
  );
});

test('a graph at another accuracy level computes what one that was built with it computes', async () => {
  const [at4, at0] = [await tinyModelDir(), await tinyModelDir({ build: { accuracyLevel: 0 } })];
  const logits = async (dir: string, accuracyLevel: number | null) => {
    const compute = { threads: 1, spinUs: 0, accuracyLevel };
    const path = join(dir, 'model.onnx');
    const graph = readGraphInterface(readGraphFile(path));
    const options = { graph, contextLength: 64, compute, rowsFor: () => 1 };
    const decoder = firstRow(await openNativeRows(library, path, options));
    const result = (await decoder.forward([1, 2, 3, 4, 5])).slice();
    await decoder.dispose();
    return result;
  };
  const [four, zero] = [await logits(at4, null), await logits(at0, null)];
  assert.notDeepEqual(four, zero);
  assert.deepEqual(await logits(at4, 0), zero);
  assert.deepEqual(await logits(at4, 4), four);
  const graph = readFileSync(join(at4, 'model.onnx'));
  const changed = replaceAccuracyLevel(graph, 4, 0);
  assert.ok(countAccuracyLevel(graph, 4) > 10);
  assert.deepEqual(
    [countAccuracyLevel(changed, 4), countAccuracyLevel(changed, 0)],
    [0, countAccuracyLevel(graph, 4)],
  );
});
