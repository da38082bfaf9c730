import assert from 'node:assert/strict';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Dimension, type ElementType, GraphBuilder, microsoft } from '../../src/onnx/graph.ts';
import { type GraphFile, readGraphFile } from '../../src/onnx/graph-file.ts';
import { type GraphInterface, readGraphInterface, usualNames } from '../../src/onnx/graph-interface.ts';
import { temporaryDir } from '../support/temporary.ts';

type Value = [name: string, type: ElementType, shape: readonly Dimension[]];

const usualInputs: Value[] = [
  ['input_ids', 'int64', ['batch', 'tokens']],
  ['attention_mask', 'int64', ['batch', 'total']],
];
const past: Value = ['past_key_values.0.key', 'float32', ['batch', 2, 'past', 16]];
const present: Value = ['present.0.key', 'float32', ['batch', 2, 'total', 16]];
const logits: Value = ['logits', 'float32', ['batch', 'tokens', 260]];

/** A graph with these inputs and outputs; it need not compute. */
function written(t: TestContext, inputs: Value[], outputs: Value[] = [present, logits]): GraphFile {
  const graph = new GraphBuilder('test');
  for (const value of inputs) graph.input(...value);
  const none = graph.constant('none', 'float32', [0], new Float32Array(0));
  for (const value of outputs) graph.output(graph.node('Identity', [none], value[0]), value[1], value[2]);
  const path = join(temporaryDir(t), 'model.onnx');
  writeFileSync(path, graph.encode());
  return readGraphFile(path);
}

function read(t: TestContext, inputs: Value[], outputs?: Value[]): GraphInterface {
  return readGraphInterface(written(t, inputs, outputs));
}

test('what a graph takes is found by its names, its types and its dimensions', (t) => {
  const { inputs, cache, vocabularySize, shared } = read(
    t,
    [
      ...usualInputs,
      ['position_ids', 'int32', ['batch', 'tokens']],
      ['num_logits_to_keep', 'int64', []],
      ['past_0', 'float16', [2, 'batch', 4, 'past', 8]],
    ],
    [['present_0', 'float16', [2, 'batch', 4, 'total', 8]], logits],
  );
  assert.deepEqual(
    inputs.map(({ meaning, type, rank }) => [meaning, type, rank]),
    [
      ['ids', 'int64', 2],
      ['mask', 'int64', 2],
      ['positions', 'int32', 2],
      ['logitsKept', 'int64', 0],
    ],
  );
  assert.deepEqual(cache, [
    { input: 'past_0', output: 'present_0', type: 'float16', heads: 4, headSize: 8, combined: true },
  ]);
  assert.deepEqual([vocabularySize, shared], [260, false]);
});

test('memory is shared where one operator reads the past and writes the present, and nothing else reads it', (t) => {
  const path = join(temporaryDir(t), 'model.onnx');
  const write = (also: boolean) => {
    const graph = new GraphBuilder('test');
    for (const value of [...usualInputs, past]) graph.input(...value);
    const inputs = ['', '', '', past[0]];
    graph.nodeWithOutputs('GroupQueryAttention', inputs, ['out', present[0]], { domain: microsoft });
    if (also) graph.node('Identity', [past[0]], 'logits');
    else graph.node('Identity', ['out'], 'logits');
    for (const value of [present, logits]) graph.output(...value);
    writeFileSync(path, graph.encode());
    return readGraphInterface(readGraphFile(path)).shared;
  };
  assert.deepEqual([write(false), write(true)], [true, false]);
});

test('a vocabulary that the graph does not say is the one that is given', (t) => {
  const graph = written(
    t,
    [...usualInputs, past],
    [present, ['logits', 'float16', ['batch', 'tokens', 'vocabulary']]],
  );
  assert.equal(readGraphInterface(graph, usualNames, 300).vocabularySize, 300);
  assert.throws(() => readGraphInterface(graph), { code: 'model_unsupported', message: /logits/ });
});

const refusals: [what: string, inputs: Value[], names: RegExp][] = [
  [
    'images',
    [...usualInputs, past, ['pixel_values', 'float32', ['b', 3, 'h', 'w']]],
    /images .*pixel_values/,
  ],
  ['sound', [...usualInputs, past, ['input_features', 'float32', ['b', 'n', 80]]], /sound .*input_features/],
  [
    'what an encoder says',
    [...usualInputs, past, ['encoder_hidden_states', 'float32', ['b', 's', 64]]],
    /encoder/,
  ],
  ['a paged cache', [...usualInputs, past, ['block_table', 'int32', ['b', 'n']]], /paged .*block_table/],
  ['embeddings', [['inputs_embeds', 'float32', ['b', 's', 64]], past], /embeddings .*inputs_embeds/],
  ['scales of a quantized cache', [...usualInputs, past, ['k_scale', 'float32', [1]]], /scales .*k_scale/],
  [
    'a state of convolutions',
    [...usualInputs, past, ['past_conv.0', 'float32', ['b', 64, 3]]],
    /past_conv\.0/,
  ],
  ['something new', [...usualInputs, past, ['use_cache_branch', 'bool', [1]]], /not know: use_cache_branch/],
  ['positions of images', [...usualInputs, past, ['position_ids', 'int64', [3, 'b', 's']]], /position_ids/],
  ['a fixed number of tokens', [['input_ids', 'int64', [1, 64]], past], /64 tokens/],
  ['a fixed number of prompts', [['input_ids', 'int64', [4, 's']], past], /4 prompts/],
  ['a cache of a fixed length', [...usualInputs, [past[0], 'float32', [1, 2, 512, 16]]], /512 tokens/],
  ['a cache of unknown heads', [...usualInputs, [past[0], 'float32', ['b', 'h', 'p', 16]]], /heads/],
  ['a cache of whole numbers', [...usualInputs, [past[0], 'int32', ['b', 2, 'p', 16]]], /type/],
  [
    'a past without a present',
    [...usualInputs, past, ['past_key_values.1.key', 'float32', past[2]]],
    /present\.1\.key/,
  ],
  ['no cache', usualInputs, /keys and values/],
  ['no tokens', [['attention_mask', 'int64', ['b', 't']], past], /input_ids/],
];

for (const [what, inputs, names] of refusals)
  test(`a graph that takes ${what} is refused by that name`, (t) => {
    assert.throws(() => read(t, inputs), { code: 'model_unsupported', message: names });
  });

test('a file that is no graph, or ends in the middle, is said to be none', (t) => {
  const dir = temporaryDir(t, { 'text.onnx': 'this is no graph at all', 'empty.onnx': '' });
  for (const name of ['text.onnx', 'empty.onnx']) assert.throws(() => readGraphFile(join(dir, name)));
  const graph = new GraphBuilder('test');
  graph.output(graph.node('Identity', [graph.input(...past)], 'logits'), 'float32', logits[2]);
  const path = join(dir, 'cut.onnx');
  writeFileSync(path, graph.encode());
  truncateSync(path, graph.encode().length - 5);
  assert.throws(() => readGraphFile(path), /middle/);
});

test('weights are counted without being read, by the file that holds them', (t) => {
  const graph = new GraphBuilder('test');
  const own = graph.constant('own', 'float32', [300, 1000], new Float32Array(300_000));
  const far = graph.external('far', 'uint8', [7, 9], { location: 'a.data', offset: 0, length: 63 });
  graph.output(graph.node('Concat', [own, far], 'logits', { attributes: { axis: 0, bits: 4 } }), 'float32', [
    'n',
  ]);
  const path = join(temporaryDir(t), 'model.onnx');
  writeFileSync(path, graph.encode());
  const { weights, nodes } = readGraphFile(path);
  assert.deepEqual(weights, [
    { name: 'own', type: 'float32', elements: 300_000, location: null },
    { name: 'far', type: 'uint8', elements: 63, location: 'a.data' },
  ]);
  assert.deepEqual(
    [...nodes[0]!.attributes],
    [
      ['axis', 0],
      ['bits', 4],
    ],
  );
});
