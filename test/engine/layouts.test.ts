import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { openEngine } from '../../src/engine/engine.ts';
import { manifestOf, writeManifest } from '../../src/model/adopt.ts';
import { describeForeign } from '../../src/model/foreign.ts';
import { manifestFile } from '../../src/model/manifest.ts';
import { elementTypes, type GraphBuilder } from '../../src/onnx/graph.ts';
import type { ForeignForm } from '../support/foreign-graph.ts';
import { nest, writeGenaiModel, writeTransformersJsModel } from '../support/foreign-model.ts';
import { engineOptions, ForkedEngine, request } from '../support/forked-engine.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const build = { quantization: 'float32' } as const;
const prompts = ['Hello', 'a prompt of several chunks, '.repeat(3)];

async function answers(dir: string, trust: Parameters<typeof openEngine>[2] = null) {
  const engine = await openEngine(dir, engineOptions, trust);
  const texts: string[] = [];
  for (const prompt of prompts) texts.push((await engine.generate(request(prompt))).text);
  const again = await engine.generate(request(prompts.at(-1)!));
  assert.equal(again.text, texts.at(-1));
  assert.ok(again.usage.cached_tokens > 0);
  await engine.close();
  return { info: engine.info.model, texts };
}

const own = await answers(await tinyModelDir({ build }));

test('a transformers.js directory answers as the product’s own build of its checkpoint does', async (t) => {
  const dir = join(temporaryDir(t), 'Tiny Model');
  await writeTransformersJsModel(dir, { build });
  const { info, texts } = await answers(dir);
  assert.deepEqual(texts, own.texts);
  const { sha256, parameters, ...said } = info;
  assert.deepEqual(said, {
    id: 'tiny-model',
    layout: 'onnx',
    quantization: 'float32',
    context_length: 256,
    verification: null,
  });
  assert.match(sha256, /^[0-9a-f]{64}$/);
  assert.ok(parameters > 50_000, String(parameters));
});

test('an engine that is told which kind of weights is preferred loads the graph that has it', async (t) => {
  const dir = temporaryDir(t);
  await writeTransformersJsModel(dir, { suffix: '_q4' });
  await writeTransformersJsModel(dir, { build: { quantization: 'int8' }, suffix: '_int8' });
  for (const [told, quantization] of [
    [{}, 'int4 b32'],
    [{ variant_kind: 'int8' }, 'int8 b32'],
  ] as const) {
    const engine = new ForkedEngine();
    t.after(() => engine.stop());
    engine.send({ type: 'load', model_dir: dir, options: engineOptions, ...told });
    const message = await engine.first(({ type }) => type === 'ready' || type === 'load_failed');
    assert.equal(message.type === 'ready' && message.info.model.quantization, quantization);
  }
});

for (const combined of [false, true])
  test(`an onnxruntime-genai directory answers so too${combined ? ', with keys and values in one tensor' : ''}`, async (t) => {
    const dir = join(temporaryDir(t), 'tiny');
    await writeGenaiModel(dir, {
      build,
      form: combined ? { combined, attention: 'plain', idsType: 'int32' } : {},
    });
    const { info, texts } = await answers(dir);
    assert.deepEqual([texts, info.layout, info.id], [own.texts, 'genai', 'tiny']);
  });

test('a directory of onnxruntime-genai may lie inside, and its tensors may have names of their own', async (t) => {
  const dir = join(temporaryDir(t), 'repo');
  const names = {
    input_ids: 'tokens',
    attention_mask: 'mask',
    logits: 'scores',
    'past.key': 'kin_%d',
    'past.value': 'vin_%d',
    'present.key': 'kout_%d',
    'present.value': 'vout_%d',
  };
  await writeGenaiModel(dir, { build, form: { names } });
  nest(dir, 'cpu-int4');
  assert.deepEqual((await answers(dir)).texts, own.texts);
  await writeGenaiModel(join(dir, 'cuda-int4'), { build });
  await assert.rejects(openEngine(dir, engineOptions), {
    code: 'model_invalid',
    message: /cpu-int4.*cuda-int4/,
  });
});

test('a model that is taken over is held to the hashes of its manifest, and any change of a file is named', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { build });
  const before = await answers(dir);
  const adopted = await manifestOf(dir);
  await writeManifest(dir, adopted!.manifest);
  const after = await answers(dir);
  assert.deepEqual(after, before);
  for (const name of ['onnx/model.onnx_data', 'tokenizer.json', 'generation_config.json']) {
    const content = readFileSync(join(dir, name));
    appendFileSync(join(dir, name), ' ');
    await assert.rejects(openEngine(dir, engineOptions), {
      code: 'model_invalid',
      message: new RegExp(name),
    });
    writeFileSync(join(dir, name), content);
  }
  rmSync(join(dir, 'onnx/model.onnx_data'));
  await assert.rejects(openEngine(dir, engineOptions), {
    code: 'model_missing',
    message: /model\.onnx_data/,
  });
});

test('where a signature is asked for, a directory without a manifest is not trusted', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { build });
  const { publicKey } = await import('node:crypto').then(({ generateKeyPairSync }) =>
    generateKeyPairSync('ed25519'),
  );
  const public_keys = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  await assert.rejects(answers(dir, { public_keys, required: true }), { code: 'model_untrusted' });
  assert.deepEqual((await answers(dir, { public_keys, required: false })).texts, own.texts);
});

test('of several graphs the one that suits the board is taken, and it is said why', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  const half = { cacheType: 'float16', logitsType: 'float16' } as const;
  await writeTransformersJsModel(dir, { build });
  await writeTransformersJsModel(dir, { build: { quantization: 'int4' }, suffix: '_q4' });
  await writeTransformersJsModel(dir, { build: { quantization: 'int4' }, suffix: '_q4f16', form: half });
  const chosen = async (halfPrecision: boolean, memoryBytes: number, variant?: string) => {
    const model = await describeForeign(dir, {
      board: { halfPrecision, byteProducts: true, memoryBytes },
      variant,
    });
    return [model!.variant, model!.manifest.quantization.bits, model!.reason];
  };
  const [name, bits, reason] = await chosen(false, 4e9);
  assert.deepEqual([name, bits], ['q4', 4]);
  assert.match(String(reason), /float16/);
  assert.deepEqual((await chosen(true, 4e9)).slice(0, 2), ['q4', 4]);
  assert.match(String((await chosen(true, 1e6))[2]), /not fit/);
  assert.deepEqual(await chosen(true, 4e9, 'fp32'), ['fp32', 32, 'as asked for']);
  await assert.rejects(chosen(true, 4e9, 'int8'), { code: 'model_missing', message: /fp32/ });
  rmSync(join(dir, 'onnx/model_q4.onnx'));
  assert.deepEqual((await chosen(true, 4e9))[0], 'q4f16');
  assert.deepEqual((await chosen(false, 4e9))[0], 'fp32');
});

test('what cannot be run is refused by name before a weight is read', async (t) => {
  const refused = async (change: Parameters<typeof writeGenaiModel>[1] & object, message: RegExp) => {
    const dir = join(temporaryDir(t), 'tiny');
    await writeGenaiModel(dir, { build, ...change });
    await assert.rejects(openEngine(dir, engineOptions), { code: 'model_unsupported', message });
  };
  await refused({ config: ({ model }) => Object.assign(model, { vision: {} }) }, /images .*vision/);
  await refused({ config: ({ model }) => Object.assign(model, { speech: {} }) }, /sound .*speech/);
  await refused({ config: ({ model }) => Object.assign(model, { encoder: {} }) }, /encoder/);
  await refused({ config: ({ model }) => Object.assign(model, { embedding: {} }) }, /embeddings/);
  await refused({ config: ({ model }) => Object.assign(model.decoder, { pipeline: [] }) }, /pipeline/);
  const window = { sliding_window: { window_size: 8 } };
  await refused({ config: ({ model }) => Object.assign(model.decoder, window) }, /sliding_window/);
  await refused(
    {
      form: { names: { input_ids: 'inputs_embeds' } },
      config: ({ model }) => {
        delete model.decoder.inputs.input_ids;
      },
    },
    /embeddings .*inputs_embeds/,
  );
});

const halves: Record<string, Partial<ForeignForm>> = {
  'a float16 cache and logits': { cacheType: 'float16', logitsType: 'float16' },
  'a float16 cache, and logits that a Cast makes float32 of': {
    cacheType: 'float16',
    through: (graph, logits) => cast(graph, cast(graph, logits, elementTypes.float16), elementTypes.float32),
  },
};

for (const [name, form] of Object.entries(halves))
  test(`a graph with ${name} is answered with on either backend`, async (t) => {
    const dir = join(temporaryDir(t), 'tiny');
    await writeTransformersJsModel(dir, { build, form });
    for (const backend of ['native', 'node'] as const) {
      const engine = await openEngine(dir, { ...engineOptions, backend });
      assert.equal((await engine.generate(request(prompts[0]!))).text, own.texts[0]);
      await engine.close();
    }
  });

test('grouped attention of float32 over a float16 cache is answered with natively, and else refused at load', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  const form = { attention: 'grouped', positions: false, cacheType: 'float16', mixed: true } as const;
  await writeTransformersJsModel(dir, { build, form });
  assert.equal((await answers(dir)).texts[0], own.texts[0]);
  await assert.rejects(openEngine(dir, { ...engineOptions, backend: 'node' }), {
    code: 'model_invalid',
    message: /onnx\/model\.onnx.*GroupQueryAttention/,
  });
});

test('a graph with an operator that no CPU computes is refused at load by the operator, on either backend', async (t) => {
  const bfloat16 = 16;
  const through: ForeignForm['through'] = (graph, logits) => {
    const brain = cast(graph, logits, bfloat16);
    return cast(graph, graph.node('Add', [brain, brain], `${logits}.twice`), elementTypes.float32);
  };
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { build, form: { through } });
  for (const backend of ['native', 'node'] as const)
    await assert.rejects(openEngine(dir, { ...engineOptions, backend }), {
      code: 'model_unsupported',
      message: /onnx\/model\.onnx.*\bAdd\b/,
    });
});

test('a graph that runs for one token and fails for several is refused at load, not at the first prompt', async (t) => {
  const through: ForeignForm['through'] = (graph, logits) => {
    const one = graph.constant(`${logits}.one`, 'int64', [3], BigInt64Array.of(1n, 1n, 260n));
    return graph.node('Reshape', [logits, one], `${logits}.flat`);
  };
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { build, form: { through } });
  for (const backend of ['native', 'node'] as const)
    await assert.rejects(openEngine(dir, { ...engineOptions, backend }), {
      code: 'model_invalid',
      message: /Reshape/,
    });
});

for (const [layout, write, several] of [
  ['transformers.js', writeTransformersJsModel, false],
  ['onnxruntime-genai', writeGenaiModel, true],
] as const)
  test(`[SLMD-INF-1] a graph of ${layout} is computed as it is, and info says how many rows it has, and who says so`, async (t) => {
    const dir = join(temporaryDir(t), 'tiny');
    await write(dir, { build: { quantization: 'int4', accuracyLevel: 4 } });
    for (const rows of ['auto', 4] as const) {
      const engine = await openEngine(dir, { ...engineOptions, rows });
      const { engine: said } = engine.info;
      assert.deepEqual([said.accuracy_level, said.accuracy_level_chosen_by], [4, 'graph']);
      if (!several) assert.deepEqual([said.rows, said.rows_chosen_by, said.rows_gain], [1, 'graph', null]);
      else assert.equal(said.rows_chosen_by, rows === 'auto' ? 'probe' : 'setting');
      if (rows === 4) assert.equal(said.rows, several ? 4 : 1);
      assert.deepEqual([said.speculation_chosen_by, said.draft_costs?.length], ['probe', 3]);
      await engine.close();
    }
  });

test('a configuration or a file that is missing or wrong is named', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { build });
  const spoil = async (name: string, content: string | null, code: string) => {
    const path = join(dir, name);
    const before = readFileSync(path);
    if (content === null) rmSync(path);
    else writeFileSync(path, content);
    await assert.rejects(openEngine(dir, engineOptions), {
      code,
      message: new RegExp(name.replaceAll('.', '\\.')),
    });
    writeFileSync(path, before);
  };
  await spoil('config.json', null, 'model_missing');
  await spoil('config.json', '{', 'model_invalid');
  await spoil('config.json', '{}', 'model_invalid');
  await spoil('generation_config.json', '{"eos_token_id": "no"}', 'model_invalid');
  await spoil('onnx/model.onnx', 'no graph', 'model_invalid');
  await spoil('onnx/model.onnx_data', null, 'model_missing');
  await spoil('tokenizer.json', null, 'model_missing');
  assert.equal(existsSync(join(dir, manifestFile)), false);
});

let casts = 0;

function cast(graph: GraphBuilder, value: string, to: number): string {
  return graph.node('Cast', [value], `${value}.as.${to}.${casts++}`, { attributes: { to } });
}
