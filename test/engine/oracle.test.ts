import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { buildChosen, fastestFirst, type Tried } from '../../src/cli/model-choose.ts';
import { openEngine } from '../../src/engine/engine.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import type { Manifest } from '../../src/model/manifest.ts';
import { type Comparison, compareModels } from '../../src/oracle/compare.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';
import { startCommand } from '../support/command.ts';
import { writeGenaiModel, writeTransformersJsModel } from '../support/foreign-model.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { temporaryDir } from '../support/temporary.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';
import { tinyModelDir } from '../support/tiny-model.ts';
import { writeTinyTokenizer } from '../support/tiny-tokenizer.ts';

const options = { threads: 1 };
const manifestOf = (dir: string) =>
  JSON.parse(readFileSync(join(dir, 'slmd-model.json'), 'utf8')) as Manifest;

function tinyCheckpoint(t: TestContext): string {
  const dir = temporaryDir(t);
  writeTinyCheckpoint(dir);
  writeTinyTokenizer(dir);
  return dir;
}

test('a model is at no distance from itself, and a quantized one is nearer the more bits it has', async () => {
  const float32 = await tinyModelDir({ build: { quantization: 'float32' } });
  const [same, int8, int4] = [
    await compareModels(float32, float32, options),
    await compareModels(await tinyModelDir({ build: { quantization: 'int8' } }), float32, options),
    await compareModels(await tinyModelDir(), float32, options),
  ];
  assert.deepEqual([same.answers.greedy_agreement, same.answers.kl_divergence], [1, 0]);
  assert.equal(same.verdict, 'good');
  assert.ok(0 < int8.answers.kl_divergence && int8.answers.kl_divergence < int4.answers.kl_divergence);
  assert.ok(int8.answers.greedy_agreement > int4.answers.greedy_agreement);
});

test('two models that are not of one checkpoint are not compared', async () => {
  const other = await tinyModelDir({ checkpoint: { layers: 3 } });
  await assert.rejects(compareModels(await tinyModelDir(), other, options), { code: 'models_differ' });
});

test('slmd model verify --against writes its verdict into the manifest, and the model is whole after it', async (t) => {
  const dir = join(temporaryDir(t), 'model');
  cpSync(await tinyModelDir({ build: { quantization: 'int8' } }), dir, { recursive: true });
  const { code, stdout, stderr } = await startCommand([
    'model',
    'verify',
    dir,
    '--against',
    tinyCheckpoint(t),
    '--json',
  ]).ran;
  assert.equal(code, 0, stderr);
  const { comparison } = JSON.parse(stdout);
  const { verification } = manifestOf(dir);
  assert.equal(verification?.verdict, comparison.verdict);
  assert.equal(verification?.against, 'float32');
  assert.equal((await readModelDirectory(dir)).manifest.id, 'tiny');
});

test('slmd model verify --no-record leaves the manifest as it is, and a signed one is not changed', async (t) => {
  const dir = join(temporaryDir(t), 'model');
  cpSync(await tinyModelDir(), dir, { recursive: true });
  const before = readFileSync(join(dir, 'slmd-model.json'), 'utf8');
  const against = ['--against', await tinyModelDir({ build: { quantization: 'float32' } })];
  assert.equal((await startCommand(['model', 'verify', dir, ...against, '--no-record']).ran).code, 0);
  writeFileSync(join(dir, 'slmd-model.json.sig'), 'a signature');
  const signed = await startCommand(['model', 'verify', dir, ...against]).ran;
  assert.equal(signed.code, 1);
  assert.equal(readFileSync(join(dir, 'slmd-model.json'), 'utf8'), before);
});

const foreign = {
  'transformers.js': writeTransformersJsModel,
  'onnxruntime-genai': writeGenaiModel,
} as const;

for (const [layout, write] of Object.entries(foreign))
  test(`slmd model verify --against compares a model in the layout of ${layout} with its checkpoint, and takes it over`, async (t) => {
    const dir = join(temporaryDir(t), 'model');
    await write(dir, { build: { quantization: 'int8' } });
    const { code, stdout, stderr } = await verify(dir, '--against', tinyCheckpoint(t), '--json');
    assert.equal(code, 0, stderr);
    const { comparison } = JSON.parse(stdout) as { comparison: Comparison };
    // The same weights in the same operators say what the product's own build of them says.
    const own = await tinyModelDir({ build: { quantization: 'int8' } });
    const expected = await compareModels(
      own,
      await tinyModelDir({ build: { quantization: 'float32' } }),
      options,
    );
    assert.equal(comparison.answers.positions, expected.answers.positions);
    assert.ok(
      Math.abs(comparison.answers.greedy_agreement - expected.answers.greedy_agreement) < 0.05,
      `${comparison.answers.greedy_agreement}, ${expected.answers.greedy_agreement}`,
    );
    const { verification, layout: kept } = manifestOf(dir);
    assert.deepEqual(
      [verification?.verdict, verification?.against, kept],
      [comparison.verdict, 'float32', layout === 'transformers.js' ? 'onnx' : 'genai'],
    );
    const engine = await openEngine(dir, engineOptions);
    assert.equal(engine.info.model.verification?.verdict, comparison.verdict);
    await engine.close();
    assert.equal((await verify(dir)).code, 0);
  });

test('of a directory with several graphs the one for the board is compared with the most exact one, before and after it is taken over', async (t) => {
  const dir = join(temporaryDir(t), 'model');
  await writeTransformersJsModel(dir, { build: { quantization: 'int8' }, suffix: '_int8' });
  await writeTransformersJsModel(dir, { build: { quantization: 'float32' } });
  const found = async (...more: string[]) => {
    const { code, stdout, stderr } = await verify(dir, '--against', dir, '--json', ...more);
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { comparison: Comparison }).comparison;
  };
  const before = await found('--no-record');
  assert.equal(existsSync(join(dir, 'slmd-model.json')), false);
  assert.deepEqual(await found(), before);
  assert.equal(manifestOf(dir).graph, 'onnx/model_int8.onnx');
  assert.deepEqual(await found('--no-record'), before);
  assert.equal(before.against, 'float32');
  assert.ok(before.answers.kl_divergence > 0);
});

test('models with other tokens, or without anything that vouches for them, are not verified', async (t) => {
  const [dir, other] = [join(temporaryDir(t), 'model'), join(temporaryDir(t), 'other')];
  for (const each of [dir, other]) await writeGenaiModel(each);
  const path = join(other, 'tokenizer.json');
  const tokenizer = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(path, JSON.stringify({ ...tokenizer, normalizer: { type: 'Lowercase' } }));
  await assert.rejects(compareModels(dir, other, options), { code: 'models_differ' });
  assert.equal((await verify(dir)).code, 1);
});

function verify(dir: string, ...more: string[]) {
  return startCommand(['model', 'verify', dir, ...more]).ran;
}

test('slmd model build --quantization auto takes the fastest layout that is good, and says what each loses', async (t) => {
  const out = join(temporaryDir(t), 'model');
  const { code, stdout, stderr } = await startCommand([
    'model',
    'build',
    tinyCheckpoint(t),
    '--out',
    out,
    '--quantization',
    'auto',
    '--id',
    'chosen',
  ]).ran;
  assert.equal(code, 0, stderr);
  const tried = stdout.split('\n').filter((line) => / KL /.test(line));
  const { id, quantization, verification } = manifestOf(out);
  assert.equal(id, 'chosen');
  assert.equal(tried.at(-1)?.endsWith(`: ${verification?.verdict}`), true);
  assert.equal(tried.at(-1)?.startsWith(`int${quantization.bits} b${quantization.block_size}`), true);
  assert.ok(tried.slice(0, -1).every((line) => !line.endsWith(': good')));
  const chosen = stdout.split('\n').filter((line) => / is taken: /.test(line));
  assert.equal(chosen.length, 1);
  assert.ok(chosen[0]!.startsWith(`int${quantization.bits} b${quantization.block_size} `));
});

test('the layout that is chosen is built once, with its verdict, and nothing else is left', async (t) => {
  const dir = temporaryDir(t);
  const steps: string[] = [];
  const onStep = (label: string) => steps.at(-1) === label || steps.push(label);
  const tried: Tried[] = [];
  const chosen: Tried[] = [];
  const manifest = await buildChosen(
    tinyCheckpoint(t),
    join(dir, 'out'),
    {},
    { threads: 1, onStep, onTried: (one) => tried.push(one), onChosen: (one) => chosen.push(one) },
  );
  const builds = steps.filter((label) => label.startsWith('building'));
  assert.equal(builds.length, 1 + tried.length, builds.join());
  assert.equal(new Set(builds).size, builds.length);
  assert.equal(manifest.verification?.verdict, chosen[0]?.comparison.verdict);
  assert.deepEqual(readdirSync(dir), ['out']);
  assert.deepEqual(
    readdirSync(join(dir, 'out')).toSorted(),
    [...Object.keys(manifest.files), 'slmd-model.json'].toSorted(),
  );
});

test('layouts are tried by what a token reads: large blocks first, unless most of a block is filled up', async (t) => {
  const orderFor = async (checkpoint: TinyCheckpointOptions) => {
    const dir = temporaryDir(t);
    writeTinyCheckpoint(dir, checkpoint);
    const candidates = await fastestFirst(dir, {});
    const bytes = candidates.map((candidate) => candidate.bytes);
    assert.deepEqual(
      bytes,
      bytes.toSorted((a, b) => a - b),
    );
    return candidates.map(({ layout }) => `${layout.quantization} b${layout.blockSize}`);
  };
  // 256 and 512 columns are whole blocks of any size; of 64 and 172 a block of 128 leaves much empty.
  assert.deepEqual(await orderFor({ hiddenSize: 256, heads: 8, headSize: 32, intermediateSize: 512 }), [
    'int4 b128',
    'int4 b64',
    'int4 b32',
    'int8 b32',
  ]);
  assert.deepEqual(await orderFor({}), ['int4 b64', 'int4 b32', 'int4 b128', 'int8 b32']);
});

test('a token reads no embedding that is not the head, and of experts only those that it takes', async (t) => {
  const bytesOf = async (checkpoint: TinyCheckpointOptions) => {
    const dir = temporaryDir(t);
    writeTinyCheckpoint(dir, checkpoint);
    const candidates = await fastestFirst(dir, {});
    return candidates.find(({ layout }) => layout.quantization === 'int4' && layout.blockSize === 32)!.bytes;
  };
  assert.equal(await bytesOf({ tied: false }), await bytesOf({ tied: true }));
  const experts = tinyVariants.granite_moe_bf16_shards;
  const taking = (count: number) =>
    bytesOf({ ...experts, config: { ...experts.config, num_experts_per_tok: count } });
  // 64 → 2 × 44 and 44 → 64, of whole blocks of 32 with 16 bytes of levels and 8 more, in two layers.
  const expert = 2 * (88 * 2 + 64 * 2) * (16 + 8);
  assert.equal((await taking(5)) - (await taking(3)), 2 * expert);
});
