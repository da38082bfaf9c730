import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRepo, storeName } from '../../src/supply/repo.ts';
import { selectFiles, type Wish } from '../../src/supply/selection.ts';

const side = ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'LICENSE'];
const clutter = [
  'README.md',
  '.gitattributes',
  'pytorch_model.bin',
  'original/consolidated.00.pth',
  'model.gguf',
];

function selected(paths: readonly string[], wish?: Wish): string {
  const files = [...paths, ...side, ...clutter].map((path) => ({ path, bytes: 1, hash: null }));
  const { layout, variant, files: chosen } = selectFiles(files, wish);
  return [layout, variant, ...chosen.map(({ path }) => path).filter((path) => !side.includes(path))].join(
    ' ',
  );
}

const shards = [
  'model.safetensors.index.json',
  'model-00001-of-00002.safetensors',
  'model-00002-of-00002.safetensors',
];
const graphs = [
  'onnx/model.onnx',
  'onnx/model.onnx_data',
  'onnx/model_q4.onnx',
  'onnx/model_q4f16.onnx',
  'onnx/model_int8.onnx',
];
const genai = (dir: string) =>
  ['genai_config.json', 'model.onnx', 'model.onnx.data', 'tokenizer.json'].map((name) => dir + name);

test('of a checkpoint the weights are taken once, with what belongs to them', () => {
  assert.equal(selected(['model.safetensors']), 'safetensors  model.safetensors');
  assert.equal(selected(shards), `safetensors  ${shards.join(' ')}`);
  assert.equal(selected(['model.safetensors', ...shards, ...graphs]), 'safetensors  model.safetensors');
  const whole = selectFiles([...side, 'model.safetensors'].map((path) => ({ path, bytes: 1, hash: null })));
  assert.equal(whole.files.length, side.length + 1);
});

test('of several graphs the best for a small CPU is taken, or the one that is named, with its data', () => {
  assert.equal(selected(graphs), 'onnx q4 onnx/model_q4.onnx');
  assert.equal(selected(graphs, { variant: 'int8' }), 'onnx int8 onnx/model_int8.onnx');
  assert.equal(selected(graphs, { variant: 'fp32' }), 'onnx fp32 onnx/model.onnx onnx/model.onnx_data');
  assert.equal(selected(['model.safetensors', ...graphs], { layout: 'onnx' }), 'onnx q4 onnx/model_q4.onnx');
  assert.throws(() => selected(graphs, { variant: 'q2' }), { code: 'nothing_to_pull' });
});

test('of onnxruntime-genai one directory is taken, for the CPU where there is one', () => {
  const dirs = [...genai('cuda/cuda-int4/'), ...genai('cpu/cpu-fp32/'), ...genai('cpu/cpu-int4/')];
  assert.equal(selected(dirs), `genai cpu-int4 ${genai('cpu/cpu-int4/').join(' ')}`);
  assert.equal(selected(dirs, { variant: 'fp32' }), `genai cpu-fp32 ${genai('cpu/cpu-fp32/').join(' ')}`);
  assert.equal(selected(genai('').slice(0, 3)), `genai  ${genai('').slice(0, 3).join(' ')}`);
  assert.throws(() => selected(dirs, { variant: 'npu' }), { code: 'nothing_to_pull' });
});

test('where no variant is named, the kind of weights that a board prefers is taken, if there is one', () => {
  const dirs = [...genai('cpu/cpu-fp32/'), ...genai('cpu/cpu-int4/'), ...genai('cpu/cpu-int8/')];
  for (const [kind, graph, dir] of [
    ['int4', 'q4', 'cpu-int4'],
    ['int8', 'int8', 'cpu-int8'],
    ['float32', 'fp32', 'cpu-fp32'],
  ] as const) {
    assert.match(selected(graphs, { kind }), new RegExp(`^onnx ${graph} `));
    assert.match(selected(dirs, { kind }), new RegExp(`^genai ${dir} `));
    assert.match(selected(graphs, { kind, variant: 'q4f16' }), /^onnx q4f16 /);
  }
  assert.match(selected(['onnx/model_q4.onnx', 'onnx/model.onnx'], { kind: 'int8' }), /^onnx q4 /);
});

test('a model of slmd is taken by its manifest; weights of no known form are none', () => {
  assert.equal(
    selected(['slmd-model.json', 'slmd-model.json.sig', 'model.onnx', 'model.safetensors']),
    'slmd  slmd-model.json slmd-model.json.sig',
  );
  for (const paths of [
    [],
    ['model-00001-of-00002.safetensors'],
    ['onnx/vision_encoder.onnx'],
    ['a/model.safetensors'],
  ])
    assert.throws(() => selected(paths), { code: 'nothing_to_pull' });
});

const hub = 'https://hub.example';

test('a repository is owner/name, or its address with or without a revision', () => {
  for (const [text, mirror, name, revision, trusted] of [
    ['a/B-1.5_x', hub, 'a/B-1.5_x', 'main', true],
    [`${hub}/a/b`, hub, 'a/b', 'main', true],
    [`${hub}/a/b/`, hub, 'a/b', 'main', true],
    [`${hub}/a/b/tree/v2`, hub, 'a/b', 'v2', true],
    [`${hub}/a/b/resolve/v2/model.onnx?download=true`, hub, 'a/b', 'v2', true],
    ['http://other.example:8080/a/b', 'http://other.example:8080', 'a/b', 'main', false],
    ['https://hub.example.evil/a/b', 'https://hub.example.evil', 'a/b', 'main', false],
    ['http://hub.example/a/b', 'http://hub.example', 'a/b', 'main', false],
  ] as const)
    assert.deepEqual(parseRepo(text, `${hub}/`), { mirror, name, revision, trusted }, text);
  const prefixed = parseRepo('https://lan.example/hf/a/b', 'https://lan.example/hf');
  assert.deepEqual(prefixed, {
    mirror: 'https://lan.example/hf',
    name: 'a/b',
    revision: 'main',
    trusted: true,
  });
  assert.equal(parseRepo(`${hub}/a/b/tree/v2`, hub, 'v3').revision, 'v3');
});

test('what is no repository, or no revision, is refused before anybody is asked', () => {
  for (const text of [
    '',
    'a',
    'a/b/c',
    '../b',
    'a/..',
    'a/b?x',
    'a b/c',
    'ftp://h/a/b',
    `${hub}/a`,
    'https://',
  ])
    assert.throws(() => parseRepo(text, hub), { code: 'repo_invalid' }, text);
  for (const revision of ['', '../x', 'a b', '-x', '/x'])
    assert.throws(() => parseRepo('a/b', hub, revision), { code: 'repo_invalid' }, revision);
});

test('a name in the store is the repository’s own, and says which graph it is', () => {
  const named = (name: string, suffix: string | null) => storeName(parseRepo(name, hub), suffix);
  assert.equal(named('a/SmolLM2-135M', null), 'smollm2-135m');
  assert.equal(named('a/SmolLM2-135M', 'q4'), 'smollm2-135m-q4');
  assert.equal(named('a/x-q4', 'q4'), 'x-q4');
  assert.ok(named(`a/${'x'.repeat(96)}`, 'q4').length <= 63);
});
