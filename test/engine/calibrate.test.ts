import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { buildModel } from '../../src/builder/build-model.ts';
import { Calibration, readTexts } from '../../src/builder/calibrate.ts';
import { encodeTexts } from '../../src/builder/calibration-texts.ts';
import { Checkpoint } from '../../src/builder/checkpoint.ts';
import { readArchitecture } from '../../src/builder/config.ts';
import { momentColumns } from '../../src/builder/input-moments.ts';
import { planBuild } from '../../src/builder/options.ts';
import { tinyVariants } from '../golden/tiny-variants.ts';
import { startCommand } from '../support/command.ts';
import { ModelRunner } from '../support/onnx-runner.ts';
import { temporaryDir } from '../support/temporary.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';
import { writeTinyTokenizer } from '../support/tiny-tokenizer.ts';

const texts = ['The lamp in the hall is on.', 'Rain until noon, then wind from the west; the sea is rough.'];

function checkpointIn(dir: string, options: TinyCheckpointOptions = {}): string {
  const source = join(dir, 'checkpoint');
  writeTinyCheckpoint(source, options);
  writeTinyTokenizer(source);
  return source;
}

async function readerOf(checkpointDir: string) {
  const architecture = await readArchitecture(checkpointDir);
  const options = planBuild(architecture, 'tiny', { logits: 'all' });
  return { checkpointDir, architecture, options, workDir: join(dirname(checkpointDir), 'work') };
}

const sought = { moments: true, cacheScales: false };

type Reader = Awaited<ReturnType<typeof readerOf>>;

/** tr(W·M·Wᵀ) of the head: the sum of its squared products over all texts, by the moments M of its inputs. */
async function headSquares(reader: Reader, moments: Float32Array): Promise<number> {
  const { tiedHead, vocabularySize, hiddenSize } = reader.architecture;
  const name = tiedHead ? 'model.embed_tokens.weight' : 'lm_head.weight';
  const checkpoint = await Checkpoint.open(reader.checkpointDir);
  let sum = 0;
  for await (const slab of checkpoint.rows(name, 0, vocabularySize, hiddenSize)) {
    for (let begin = 0; begin < slab.length; begin += hiddenSize) {
      const row = slab.subarray(begin, begin + hiddenSize);
      for (const [a, x] of row.entries())
        for (const [b, y] of row.entries()) sum += x * y * moments[a * momentColumns + b]!;
    }
  }
  await checkpoint.close();
  return sum;
}

/** The same, by the logits of a float32 build. */
async function logitSquares(t: TestContext, reader: Reader): Promise<number> {
  const out = join(temporaryDir(t), 'float32');
  await buildModel(reader.checkpointDir, out, { quantization: 'float32', logits: 'all' });
  const model = await ModelRunner.load(out);
  const { logits: factor, logitsSoftcap: cap } = reader.architecture.factors;
  let sum = 0;
  for (const ids of await encodeTexts(reader, texts)) {
    const { logits } = await model.run(ids);
    for (const logit of logits.flatMap((row) => [...row])) {
      const uncapped = cap === null ? logit : cap * Math.atanh(logit / cap);
      sum += (uncapped / factor) ** 2;
    }
  }
  await model.close();
  return sum;
}

describe('a calibration', () => {
  for (const [name, variant] of Object.entries(tinyVariants)) {
    test(`of "${name}" reads in every layer what a float32 build reads`, async (t) => {
      const reader = await readerOf(checkpointIn(temporaryDir(t), variant));
      const { moments } = await readTexts(reader, texts, sought, () => {});
      const [byMoments, byLogits] = [
        await headSquares(reader, moments.get('head')!),
        await logitSquares(t, reader),
      ];
      assert.ok(Math.abs(byMoments / byLogits - 1) < 1e-3, `${byMoments} and ${byLogits}`);
    });
  }

  test('knows the inputs of every matrix of a layer, and says how far it is', async (t) => {
    const reader = await readerOf(checkpointIn(temporaryDir(t)));
    const heard: [number, number][] = [];
    const { moments } = await readTexts(reader, texts, sought, (...step) => heard.push(step));
    const ofLayer = (layer: number) =>
      ['attention.qkv', 'attention.out', 'mlp.gate', 'mlp.up', 'mlp.down'].map(
        (matrix) => `layer.${layer}.${matrix}`,
      );
    assert.deepEqual([...moments.keys()], [...ofLayer(0), ...ofLayer(1), 'head']);
    // 172 columns are two groups, of which the second is filled up with zeros.
    const down = moments.get('layer.0.mlp.down')!;
    assert.equal(down.length, 2 * momentColumns ** 2);
    assert.ok(down[(momentColumns + 43) * momentColumns + 43]! > 0);
    assert.ok(down.subarray((momentColumns + 44) * momentColumns).every((value) => value === 0));
    assert.deepEqual(
      heard,
      Array.from({ length: 6 }, (_, i) => [i + 1, 6]),
    );
  });
});

describe('a calibrated build', () => {
  const contents = (dir: string) => readdirSync(dir).map((name) => readFileSync(join(dir, name), 'hex'));

  test('says that it is one, differs in nothing but stored weights, and comes out the same again', async (t) => {
    const dir = temporaryDir(t);
    const source = checkpointIn(dir);
    const [plain, calibrated, again] = ['plain', 'calibrated', 'again'].map((name) => join(dir, name));
    const before = await buildModel(source, plain!, { id: 'tiny' });
    const build = (out: string) =>
      buildModel(source, out, { id: 'tiny', calibration: new Calibration(texts) });
    const after = await build(calibrated!);
    await build(again!);
    assert.deepEqual(contents(again!), contents(calibrated!));
    assert.deepEqual(after.quantization, { ...before.quantization, calibrated: true });
    assert.deepEqual(after.files['model.onnx'], before.files['model.onnx']);
    assert.notDeepEqual(after.files['model.onnx.data'], before.files['model.onnx.data']);
    assert.deepEqual(Object.keys(after.files), Object.keys(before.files));
    assert.deepEqual(
      Object.keys(after.files).concat('slmd-model.json').sort(),
      readdirSync(calibrated!).sort(),
    );
  });

  test('reads its texts once, however many layouts are built', async (t) => {
    const dir = temporaryDir(t);
    const source = checkpointIn(dir);
    let reads = 0;
    const calibration = new Calibration(texts, () => reads++);
    for (const blockSize of [32, 64] as const) {
      await buildModel(source, join(dir, `${blockSize}`), { id: 'tiny', blockSize, calibration });
    }
    assert.equal(reads, 6);
    const alone = new Calibration(texts);
    await buildModel(source, join(dir, 'alone'), { id: 'tiny', blockSize: 64, calibration: alone });
    assert.deepEqual(contents(join(dir, '64')), contents(join(dir, 'alone')));
  });

  test('is not made of float32, where nothing is rounded', async (t) => {
    const dir = temporaryDir(t);
    const calibration = new Calibration(texts, () => assert.fail('it read'));
    const options = { quantization: 'float32', calibration } as const;
    const { quantization } = await buildModel(checkpointIn(dir), join(dir, 'out'), options);
    assert.equal(quantization.calibrated, undefined);
  });

  test('leaves nothing behind when it is aborted while it reads, or has nothing to read', async (t) => {
    const dir = temporaryDir(t);
    const source = checkpointIn(dir);
    const build = (calibration: Calibration, signal?: AbortSignal) =>
      buildModel(source, join(dir, 'out'), { calibration, ...(signal && { signal }) });
    const aborted = new AbortController();
    const reason = new Error('enough');
    const onProgress = () => aborted.abort(reason);
    await assert.rejects(build(new Calibration(texts, onProgress), aborted.signal), reason);
    await assert.rejects(build(new Calibration([])), { code: 'option_invalid' });
    assert.deepEqual(readdirSync(dir), ['checkpoint']);
  });

  test('is made by slmd model build --calibrate, of texts of its own or those of a file', async (t) => {
    const dir = temporaryDir(t);
    const source = checkpointIn(dir);
    const file = join(dir, 'texts.txt');
    writeFileSync(file, `${texts[0]}\r\n\r\n\n${texts[1]}\nin two lines\n`);
    const command = (from: string, out: string) =>
      startCommand(['model', 'build', source, '--out', join(dir, out), '--id', 'tiny', '--calibrate', from])
        .ran;
    for (const from of ['default', file]) {
      const { code, stderr } = await command(from, from === file ? 'own' : 'default');
      assert.equal(code, 0, stderr);
    }
    const same = join(dir, 'same');
    const given = [texts[0]!, `${texts[1]}\nin two lines\n`];
    await buildModel(source, same, { id: 'tiny', calibration: new Calibration(given) });
    assert.deepEqual(contents(join(dir, 'own')), contents(same));
    assert.notDeepEqual(contents(join(dir, 'default')), contents(same));
    const missing = await command(join(dir, 'nowhere.txt'), 'missing');
    assert.equal(missing.code, 1);
  });
});
