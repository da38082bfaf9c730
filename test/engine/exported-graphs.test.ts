import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { roundingOf } from '../../scripts/bench/rounding.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { describeForeign, thisBoard } from '../../src/model/foreign.ts';
import { quantizationName } from '../../src/model/manifest.ts';
import { openRuntime } from '../../src/onnx/runtime.ts';
import { exportedGraphs, writeExportedModel } from '../support/exported-graph.ts';
import { engineOptions, request } from '../support/forked-engine.ts';
import { argmax } from '../support/onnx-runner.ts';
import { temporaryDir } from '../support/temporary.ts';

const { prompt, greedy, forms } = JSON.parse(readFileSync(join(exportedGraphs, 'expected.json'), 'utf8')) as {
  prompt: number[];
  greedy: number[];
  forms: Record<string, number[]>;
};

const dir = mkdtempSync(join(tmpdir(), 'slmd-exported-'));
after(() => rmSync(dir, { recursive: true }));
writeExportedModel(dir, Object.keys(forms));

/** What each form is said to be, by its suffix. */
const quantizations: Record<string, string> = {
  '': 'float32',
  _q4: 'int4 b32',
  _q4f16: 'int4 b32',
  _int8: 'int8',
  _uint8: 'int8',
  _quantized: 'int8',
  _bnb4: 'int4 b64',
  _fp16: 'float16',
};

/** The most probable tokens, each after those that transformers chose before it. */
async function chosen(backend: 'native' | 'node', variant: string, chunk: number): Promise<number[]> {
  const model = (await describeForeign(dir, { variant }))!;
  const { decoder } = await openRuntime(backend).openDecoder(join(dir, model.manifest.graph), {
    threads: 1,
    contextLength: 64,
    foreign: model.interface,
  });
  const tokens: number[] = [];
  for (let start = 0; start < prompt.length; start += chunk) {
    const logits = await decoder.forward(prompt.slice(start, start + chunk));
    if (start + chunk >= prompt.length) tokens.push(argmax(logits));
  }
  for (const given of greedy.slice(0, -1)) tokens.push(argmax(await decoder.forward([given])));
  await decoder.dispose();
  return tokens;
}

for (const backend of ['native', 'node'] as const)
  describe(`a graph that PyTorch exported, on the ${backend} backend`, () => {
    test('gives the tokens that transformers gives, at once and in chunks', async () => {
      for (const chunk of [prompt.length, 7]) assert.deepEqual(await chosen(backend, 'fp32', chunk), greedy);
    });

    for (const [suffix, expected] of Object.entries(forms))
      test(`as model${suffix}.onnx is fed as ONNX Runtime’s own binding is fed by hand`, async () => {
        const tokens = await chosen(backend, suffix.slice(1) || 'fp32', prompt.length);
        const same = tokens.filter((token, i) => token === expected[i]).length;
        // Another processor's kernels round otherwise: of two tokens that are as good, another may come first.
        assert.ok(same >= expected.length - 2, `${same} of ${expected.length} tokens`);
      });
  });

test('each form is known by its operators, and of all of them the best for a small board is loaded', async () => {
  const names: Record<string, string> = {};
  for (const suffix of Object.keys(forms)) {
    const model = await describeForeign(dir, { variant: suffix.slice(1) || 'fp32' });
    names[suffix] = quantizationName(model!.manifest.quantization);
  }
  assert.deepEqual(names, quantizations);
  const engine = await openEngine(dir, engineOptions);
  assert.deepEqual([engine.info.model.layout, engine.info.model.quantization], ['onnx', 'int4 b32']);
  assert.ok((await engine.generate(request('Hello'))).usage.completion_tokens > 0);
  await engine.close();
});

for (const suffix of Object.keys(forms))
  test(`[SLMD-RES-11] [SLMD-INF-1] model${suffix}.onnx has one row, and is guessed at unless its tokens share scales`, async (t) => {
    const some = temporaryDir(t);
    writeExportedModel(some, [suffix]);
    const engine = await openEngine(some, { ...engineOptions, rows: 'auto' });
    const { rows, rows_chosen_by, speculation_chosen_by } = engine.info.engine;
    await engine.close();
    const shared = quantizations[suffix] === 'int8';
    assert.deepEqual(
      [rows, rows_chosen_by, speculation_chosen_by],
      [1, 'graph', shared ? 'rounding' : 'probe'],
    );
    if (shared) return;
    const { tokens, lost } = await roundingOf(some, { sequences: 2, contextLength: 256 });
    assert.ok(tokens > 100 && lost < 1, `a lead lost ${lost} of what is taken for doubtful`);
  });

const cores = {
  'Cortex-A72, of a Raspberry Pi 4': 'Features\t: fp asimd evtstrm crc32 cpuid\n',
  'Cortex-A76, of a Raspberry Pi 5': 'Features\t: fp asimd asimdhp asimddp\n',
  'x64 with VNNI': 'flags\t\t: sse2 avx2 avx512f avx512_vnni avx512_fp16\n',
};
const orders: Record<string, string[]> = {
  'Cortex-A72, of a Raspberry Pi 4': ['q4', 'int8', 'quantized', 'uint8', 'fp32', 'bnb4', 'fp16', 'q4f16'],
  'Cortex-A76, of a Raspberry Pi 5': ['q4', 'q4f16', 'int8', 'quantized', 'uint8', 'fp32', 'bnb4', 'fp16'],
  'x64 with VNNI': ['q4', 'int8', 'quantized', 'uint8', 'fp32', 'bnb4', 'fp16', 'q4f16'],
};

for (const [core, cpuinfo] of Object.entries(cores))
  test(`of whatever forms are there, a ${core} takes the best, and it is said why`, async (t) => {
    const board = thisBoard(temporaryDir(t, { 'proc/cpuinfo': cpuinfo }));
    const some = temporaryDir(t);
    cpSync(dir, some, { recursive: true });
    const taken: string[] = [];
    for (let left = Object.keys(forms).length; left > 0; left--) {
      const model = (await describeForeign(some, { board }))!;
      taken.push(model.variant);
      const says = (pattern: RegExp) => pattern.test(model.reason);
      const isBytewise = ['int8', 'quantized', 'uint8'].includes(model.variant);
      assert.equal(says(/no dot product/), isBytewise && core.includes('A72'), model.reason);
      assert.equal(says(/emulates float16/), !core.includes('A76') && left > 1, model.reason);
      rmSync(join(some, model.manifest.graph));
    }
    assert.deepEqual(taken, orders[core]);
    assert.equal(await describeForeign(some, { board }), null);
  });
