import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readModelDirectory } from '../../src/model/directory.ts';
import { inspectModel } from '../../src/supply/inspect.ts';
import { takeOver } from '../../src/supply/take-over.ts';
import { writeGenaiModel, writeTransformersJsModel } from '../support/foreign-model.ts';
import { temporaryDir } from '../support/temporary.ts';

const config = JSON.stringify({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  max_position_embeddings: 2048,
});

test('a checkpoint, in one file or in shards with an index, is one that can be built', async (t) => {
  const side = { 'config.json': config, 'tokenizer.json': '{}', 'chat_template.jinja': '' };
  for (const weights of [
    { 'model.safetensors': '' },
    { 'model.safetensors.index.json': '{}', 'model-00001-of-00001.safetensors': '' },
  ]) {
    const found = await inspectModel(temporaryDir(t, { ...side, ...weights }), null);
    const { layout, architecture, model_type, context_length, has_tokenizer, has_chat_template } = found;
    assert.deepEqual(
      [layout, architecture, model_type, context_length, has_tokenizer, has_chat_template, found.runnable],
      ['safetensors', 'LlamaForCausalLM', 'llama', 2048, true, true, false],
    );
  }
});

test('shards without an index, or consolidated weights, are no checkpoint', async (t) => {
  for (const name of ['model-00001-of-00001.safetensors', 'consolidated.safetensors', 'pytorch_model.bin'])
    assert.equal((await inspectModel(temporaryDir(t, { [name]: '' }), null)).layout, 'unknown');
});

test('the graphs of a transformers.js model are named by their quantisation, with their external data', async (t) => {
  const dir = temporaryDir(t, {
    'config.json': config,
    'onnx/model.onnx': '1',
    'onnx/model.onnx_data': '22222',
    'onnx/model.onnx_data_1': '22222',
    'onnx/model_q4.onnx': '333',
    'onnx/model_q4f16.onnx': '4',
    'onnx/model_q4f16.onnx_data': '4',
    'onnx/vision_encoder_q4.onnx': '5',
  });
  const found = await inspectModel(dir, null);
  const { layout, onnx_variants } = found;
  assert.equal(layout, 'onnx');
  // These are no graphs: what would run is said to be none, and why.
  assert.deepEqual([found.runnable, found.refusal?.code, found.graph], [false, 'model_invalid', null]);
  assert.deepEqual(onnx_variants, [
    { name: 'q4f16', files: ['onnx/model_q4f16.onnx', 'onnx/model_q4f16.onnx_data'], bytes: 2 },
    { name: 'q4', files: ['onnx/model_q4.onnx'], bytes: 3 },
    { name: 'fp32', files: ['onnx/model.onnx', 'onnx/model.onnx_data', 'onnx/model.onnx_data_1'], bytes: 11 },
  ]);
});

test('a model of onnxruntime-genai says its type, in whichever directory it is', async (t) => {
  const genai = '{"model":{"type":"phi3"}}';
  const dir = temporaryDir(t, { 'cpu-int4/genai_config.json': genai, 'cpu-int4/model.onnx': '' });
  const { layout, model_type } = await inspectModel(dir, null);
  assert.deepEqual([layout, model_type], ['genai', 'phi3']);
});

test('a directory of anything else, and a config that is no JSON, are said and no error', async (t) => {
  const found = await inspectModel(temporaryDir(t, { 'config.json': '{', 'a/b': '12345' }), null);
  assert.deepEqual([found.layout, found.architecture, found.bytes], ['unknown', null, 6]);
});

test('a manifest that cannot be used is an error, not another layout', async (t) => {
  const dir = temporaryDir(t, { 'slmd-model.json': '{}', 'model.safetensors': '' });
  await assert.rejects(inspectModel(dir, null), { code: 'model_invalid' });
});

test('a model that others laid out says which graph would run, of what it is, and why that one', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { suffix: '_q4' });
  await writeTransformersJsModel(dir, { build: { quantization: 'int8' }, suffix: '_int8' });
  const { runnable, refusal, quantization, parameters, graph, context_length } = await inspectModel(
    dir,
    null,
  );
  assert.deepEqual(
    [runnable, refusal, quantization, graph?.path, graph?.variant, context_length],
    [true, null, 'int4 b32', 'onnx/model_q4.onnx', 'q4', 256],
  );
  assert.ok(parameters !== null && parameters > 0 && graph!.reason !== '');
});

test('a model that others laid out and that cannot be run says so by a code and by name', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeGenaiModel(dir, { config: ({ model }) => Object.assign(model, { vision: {} }) });
  const { runnable, refusal } = await inspectModel(dir, null);
  assert.deepEqual([runnable, refusal?.code], [false, 'model_unsupported']);
  assert.match(refusal!.message, /images .*vision/);
});

const senses: Record<string, [names: Record<string, string>, named: RegExp]> = {
  images: [{ attention_mask: 'pixel_values' }, /images .*pixel_values/],
  sound: [{ attention_mask: 'audio_features' }, /sound .*audio_features/],
  'an encoder': [{ attention_mask: 'encoder_hidden_states' }, /encoder .*encoder_hidden_states/],
  'a paged cache': [{ attention_mask: 'block_table' }, /paged .*block_table/],
  embeddings: [{ input_ids: 'inputs_embeds' }, /embeddings .*inputs_embeds/],
};

for (const [what, [names, named]] of Object.entries(senses))
  for (const name of ['model', 'decoder_model_merged'])
    test(`a directory whose ${name}.onnx takes ${what} is refused by that name`, async (t) => {
      const dir = join(temporaryDir(t), 'tiny');
      await writeTransformersJsModel(dir, { form: { names } });
      renameSync(join(dir, 'onnx/model.onnx'), join(dir, `onnx/${name}.onnx`));
      const { runnable, refusal } = await inspectModel(dir, null);
      assert.deepEqual([runnable, refusal?.code], [false, 'model_unsupported']);
      assert.match(refusal!.message, named);
    });

test('a model that was taken over says with which graph, and whether another is better on this board', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { suffix: '_q4' });
  await writeTransformersJsModel(dir, { build: { quantization: 'float32' } });
  const taken = async (variant?: string) => {
    await takeOver(dir, { variant });
    const { layout, runnable, graph } = await inspectModel(dir, null);
    assert.deepEqual([layout, runnable], ['onnx', true]);
    return graph!;
  };
  const [best, other] = [await taken(), await taken('fp32')];
  assert.deepEqual([best.variant, best.path], ['q4', 'onnx/model_q4.onnx']);
  assert.deepEqual([other.variant, other.path], ['fp32', 'onnx/model.onnx']);
  assert.ok(!best.reason.includes('better') && / q4 is better/.test(other.reason), other.reason);
});

test('the kind of weights that a board prefers decides alike for who inspects, takes over and loads', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeTransformersJsModel(dir, { suffix: '_q4' });
  await writeTransformersJsModel(dir, { build: { quantization: 'int8' }, suffix: '_int8' });
  for (const [kind, variant] of [
    ['int4', 'q4'],
    ['int8', 'int8'],
    ['float32', 'q4'],
  ] as const) {
    assert.equal((await inspectModel(dir, null, kind)).graph?.variant, variant, kind);
    const { manifest } = await readModelDirectory(dir, null, { kind });
    assert.equal(manifest.graph, `onnx/model_${variant}.onnx`);
  }
  assert.match((await inspectModel(dir, null, 'float32')).graph!.reason, /none is float32/);
  await takeOver(dir, { kind: 'int8' });
  for (const [kind, better] of [
    ['int8', false],
    ['int4', true],
  ] as const) {
    const { graph } = await inspectModel(dir, null, kind);
    assert.deepEqual([graph?.variant, / q4 is better/.test(graph!.reason)], ['int8', better]);
  }
});

test('the graph of onnxruntime-genai is one, whatever its file is called', async (t) => {
  const dir = join(temporaryDir(t), 'tiny');
  await writeGenaiModel(dir);
  const before = await inspectModel(dir, null);
  await takeOver(dir);
  for (const { layout, onnx_variants, graph } of [before, await inspectModel(dir, null)])
    assert.deepEqual([layout, onnx_variants, graph?.path], ['genai', [], 'model.onnx']);
});
