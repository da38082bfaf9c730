import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type BuildOptions, type BuildProgress, buildModel } from '../../src/builder/build-model.ts';
import { formatManifest, manifestSchema } from '../../src/model/manifest.ts';
import { temporaryDir } from '../support/temporary.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';
import { writeTinyTokenizer } from '../support/tiny-tokenizer.ts';

/** A checkpoint, and the path where its model is to be. Both are in a directory of their own. */
function tiny(t: TestContext, options: TinyCheckpointOptions = {}): { source: string; out: string } {
  const dir = temporaryDir(t);
  const source = join(dir, 'Tiny Llama');
  writeTinyCheckpoint(source, options);
  writeTinyTokenizer(source);
  return { source, out: join(dir, 'models', 'tiny') };
}

/** Every file of a directory with its content, in hex. */
function contents(dir: string): Record<string, string> {
  return Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'hex')]));
}

describe('a built model directory', () => {
  test('has a manifest that names what it is, and every other file by its hash', async (t) => {
    const { source, out } = tiny(t);
    const manifest = await buildModel(source, out);
    assert.deepEqual(JSON.parse(readFileSync(join(out, 'slmd-model.json'), 'utf8')), manifest);
    const { files, ...rest } = manifestSchema.parse(manifest);
    assert.deepEqual(rest, {
      format: 1,
      id: 'tiny-llama-int4',
      source: { architecture: 'LlamaForCausalLM' },
      quantization: { bits: 4, head_bits: 4, block_size: 32, accuracy_level: 4 },
      geometry: { layers: 2, heads: 4, kv_heads: 2, head_size: 16, hidden_size: 64, vocabulary_size: 260 },
      logits: 'last',
      context_length: 256,
      parameters: 260 * 64 + 2 * (64 + 64 * 128 + 64 * 64 + 64 + 3 * 172 * 64) + 64,
      eos_token_ids: [258, 256],
    });
    assert.deepEqual(Object.keys(files).concat('slmd-model.json').sort(), readdirSync(out).sort());
    for (const [name, { sha256, bytes }] of Object.entries(files)) {
      const content = readFileSync(join(out, name));
      assert.equal(content.length, bytes);
      assert.equal(createHash('sha256').update(content).digest('hex'), sha256, name);
    }
  });

  test('has the tokenizer and the configuration as they were', async (t) => {
    const { source, out } = tiny(t);
    await buildModel(source, out);
    const { 'model.safetensors': _, ...copied } = contents(source);
    const built = contents(out);
    for (const [name, content] of Object.entries(copied)) assert.equal(built[name], content, name);
  });

  test('is the same to the byte when the same checkpoint is built again', async (t) => {
    const { source, out } = tiny(t);
    await buildModel(source, out);
    const first = contents(out);
    await buildModel(source, out, { force: true });
    assert.deepEqual(contents(out), first);
  });

  for (const [quantization, bytesPerWeight] of [
    ['int4', 0.5 + 4 / 32],
    ['int8', 1 + 4 / 32],
    ['float32', 4],
  ] as const) {
    test(`in ${quantization} keeps a tied embedding once, and every tensor on a page`, async (t) => {
      // Sizes that fill their blocks, so that the sum is exact.
      const { source, out } = tiny(t, { vocabularySize: 4096, intermediateSize: 192 });
      const { files } = await buildModel(source, out, { quantization });
      const weights = 4096 * 64 + 2 * (64 * 128 + 64 * 64 + 3 * 192 * 64);
      const rotary = 2 * 256 * 8 * 4;
      const tensors = 2 * (1 + 2 * 5) + 2;
      const bytes = files['model.onnx.data']!.bytes;
      const least = weights * bytesPerWeight + rotary;
      assert.ok(bytes >= least && bytes < least + tensors * 4096, `${bytes} bytes for ${least}`);
    });
  }

  test('keeps the layers that were named in eight bits, the others in four, and says which', async (t) => {
    const { source, out } = tiny(t, { intermediateSize: 192 });
    const bytesOf = async (int8Layers: number[]) => {
      const manifest = await buildModel(source, out, { int8Layers, force: true });
      return { ...manifest.quantization, bytes: manifest.files['model.onnx.data']!.bytes };
    };
    const none = await bytesOf([]);
    const one = await bytesOf([1, 1]);
    assert.ok(!('int8_layers' in none));
    assert.deepEqual(one.int8_layers, [1]);
    const more = (64 * 128 + 64 * 64 + 3 * 192 * 64) / 2;
    assert.ok(Math.abs(one.bytes - none.bytes - more) < 5 * 4096, `${one.bytes - none.bytes} for ${more}`);
  });

  test('keeps an untied embedding beside the head, in eight bits', async (t) => {
    const tied = tiny(t, { vocabularySize: 4096 });
    const untied = tiny(t, { vocabularySize: 4096, tied: false });
    const small = await buildModel(tied.source, tied.out);
    const large = await buildModel(untied.source, untied.out);
    const added = large.files['model.onnx.data']!.bytes - small.files['model.onnx.data']!.bytes;
    const embedding = 4096 * 64 * (1 + 4 / 32);
    assert.ok(added >= embedding && added < embedding + 2 * 4096, `${added} bytes for ${embedding}`);
  });

  test('has a context as long as asked for, or as trained for up to 8192', async (t) => {
    const { source, out } = tiny(t, { contextLength: 16384 });
    assert.equal((await buildModel(source, out)).context_length, 8192);
    const longest = await buildModel(source, out, { contextLength: 16384, force: true });
    assert.equal(longest.context_length, 16384);
  });

  test('ends answers where config.json says so, when there is no generation_config.json', async (t) => {
    const { source, out } = tiny(t, { config: { eos_token_id: 2 } });
    rmSync(join(source, 'generation_config.json'));
    assert.deepEqual((await buildModel(source, out)).eos_token_ids, [2]);
  });
});

test('a build reports the bytes that it has read, up to all of them', async (t) => {
  const { source, out } = tiny(t, { shards: 2, dtype: 'BF16' });
  const seen: BuildProgress[] = [];
  const { parameters } = await buildModel(source, out, { onProgress: (progress) => seen.push(progress) });
  assert.ok(seen.length > 10);
  assert.ok(seen.every(({ bytesDone }, i) => i === 0 || bytesDone > seen[i - 1]!.bytesDone));
  assert.deepEqual(seen.at(-1), { bytesDone: parameters * 2, bytesTotal: parameters * 2 });
});

describe('a build that is refused or fails leaves nothing behind', () => {
  async function fails(
    { source, out }: { source: string; out: string },
    code: string,
    options: BuildOptions = {},
  ): Promise<void> {
    await assert.rejects(buildModel(source, out, options), { name: 'SlmdError', code });
    try {
      assert.deepEqual(readdirSync(dirname(out)), []);
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOENT');
    }
  }

  test('when there is no checkpoint', async (t) => {
    const { source, out } = tiny(t);
    await fails({ source: join(source, 'nowhere'), out }, 'checkpoint_missing');
    rmSync(join(source, 'model.safetensors'));
    await fails({ source, out }, 'checkpoint_missing');
  });

  test('when the architecture is another', async (t) => {
    await fails(tiny(t, { config: { architectures: ['BertModel'] } }), 'architecture_unsupported');
  });

  test('when the weights are truncated', async (t) => {
    const paths = tiny(t);
    truncateSync(join(paths.source, 'model.safetensors'), 100_000);
    await fails(paths, 'checkpoint_invalid');
  });

  test('when the weights are of other sizes than the configuration says', async (t) => {
    await fails(tiny(t, { config: { num_hidden_layers: 3 } }), 'checkpoint_invalid');
    await fails(tiny(t, { config: { vocab_size: 261 } }), 'checkpoint_invalid');
    await fails(tiny(t, { config: { tie_word_embeddings: false } }), 'checkpoint_invalid');
  });

  test('when a weight in the middle is not a number', async (t) => {
    const transform = (name: string, values: Float32Array) =>
      name.includes('layers.1.mlp.up') ? values.fill(Number.NaN, 5, 6) : values;
    await fails(tiny(t, { transform }), 'checkpoint_invalid');
  });

  test('when the end token is not a token', async (t) => {
    const paths = tiny(t);
    writeFileSync(join(paths.source, 'generation_config.json'), '{"eos_token_id": "</s>"}');
    await fails(paths, 'checkpoint_invalid');
  });

  test('when the tokenizer is broken', async (t) => {
    const paths = tiny(t);
    for (const content of ['{', '[]', '{"model": {"type": "WordPiece", "vocab": {}}}']) {
      writeFileSync(join(paths.source, 'tokenizer.json'), content);
      await fails(paths, 'checkpoint_invalid');
    }
  });

  test('when an option is out of its range', async (t) => {
    const paths = tiny(t);
    for (const options of [
      { quantization: 'int2' },
      { blockSize: 48 },
      { headBits: 16 },
      { scales: 'best' },
      { int8Layers: [2] },
      { kvCache: 'int4' },
      { int8Layers: [0.5] },
      { accuracyLevel: 2 },
      { logits: 'none' },
      { contextLength: 257 },
      { contextLength: 0 },
      { id: 'Not an id' },
    ]) {
      await fails(paths, 'option_invalid', options as BuildOptions);
    }
  });

  test('when it is aborted on the way', async (t) => {
    const { source, out } = tiny(t);
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error('enough'));
    await assert.rejects(buildModel(source, out, { onProgress, signal: controller.signal }), /enough/);
    assert.deepEqual(readdirSync(dirname(out)), []);
  });
});

describe('an output directory that is already there', () => {
  test('is refused, and stays as it was', async (t) => {
    const { source, out } = tiny(t);
    await buildModel(source, out, { id: 'first' });
    const before = contents(out);
    await assert.rejects(buildModel(source, out, { id: 'second' }), { code: 'out_exists' });
    assert.deepEqual(contents(out), before);
  });

  test('is replaced as a whole when that is forced', async (t) => {
    const { source, out } = tiny(t);
    await buildModel(source, out, { id: 'first' });
    writeFileSync(join(out, 'left-over'), '');
    const manifest = await buildModel(source, out, { id: 'second', force: true });
    assert.equal(readFileSync(join(out, 'slmd-model.json'), 'utf8'), formatManifest(manifest));
    assert.ok(!readdirSync(out).includes('left-over'));
    assert.deepEqual(readdirSync(dirname(out)), ['tiny']);
  });

  test('is kept when a forced build fails', async (t) => {
    const { source, out } = tiny(t);
    await buildModel(source, out);
    const before = contents(out);
    truncateSync(join(source, 'model.safetensors'), statSync(join(source, 'model.safetensors')).size - 1);
    await assert.rejects(buildModel(source, out, { force: true }), { code: 'checkpoint_invalid' });
    assert.deepEqual(contents(out), before);
  });

  test('is refused even by force when it holds something else, or is a file', async (t) => {
    const { source, out } = tiny(t);
    await assert.rejects(buildModel(source, source, { force: true }), { code: 'out_exists' });
    mkdirSync(dirname(out));
    writeFileSync(out, 'a file');
    await assert.rejects(buildModel(source, out, { force: true }), { code: 'out_exists' });
    assert.equal(readFileSync(out, 'utf8'), 'a file');
  });
});
