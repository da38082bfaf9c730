import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspectModel } from '../../src/supply/inspect.ts';
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
  const { layout, onnx_variants } = await inspectModel(dir, null);
  assert.equal(layout, 'onnx');
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
