import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openEngine } from '../../src/engine/engine.ts';
import { readModelDirectory } from '../../src/model/directory.ts';
import { type Manifest, manifestFile } from '../../src/model/manifest.ts';
import { engineOptions } from '../support/forked-engine.ts';
import { tinyModelDir } from '../support/tiny-model.ts';
import { tinySpecialTokens } from '../support/tiny-tokenizer.ts';

const good = await tinyModelDir({ build: { quantization: 'float32' } });
const copies: string[] = [];
after(() => {
  for (const dir of copies) rmSync(dir, { recursive: true });
});

/** A copy of a good model that a test may spoil. */
function copy(): string {
  const dir = mkdtempSync(join(tmpdir(), 'slmd-model-'));
  copies.push(dir);
  cpSync(good, dir, { recursive: true });
  return dir;
}

function changeManifest(dir: string, change: (manifest: Manifest) => void): void {
  const path = join(dir, manifestFile);
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Manifest;
  change(manifest);
  writeFileSync(path, JSON.stringify(manifest));
}

/** Writes a file that the manifest vouches for. */
function replace(dir: string, name: string, content: Uint8Array | string): void {
  writeFileSync(join(dir, name), content);
  changeManifest(dir, ({ files }) => {
    files[name] = {
      sha256: createHash('sha256').update(content).digest('hex'),
      bytes: Buffer.byteLength(content),
    };
  });
}

async function assertRefused(dir: string, code: string, names: RegExp): Promise<void> {
  await assert.rejects(openEngine(dir, engineOptions), { code, message: names });
}

test('a good model is described by its manifest and bounded by the options', async () => {
  const engine = await openEngine(good, { ...engineOptions, context_length_max: 100 });
  const manifestText = readFileSync(join(good, manifestFile));
  const { id, parameters } = JSON.parse(manifestText.toString()) as Manifest;
  assert.deepEqual(engine.info.model, {
    id,
    sha256: createHash('sha256').update(manifestText).digest('hex'),
    quantization: 'float32',
    context_length: 100,
    parameters,
    layout: 'slmd',
    verification: null,
  });
  const { draft_costs: _, speculation: _either, ...computed } = engine.info.engine;
  assert.deepEqual(computed, {
    name: 'onnxruntime',
    version: '1.30.0',
    backend: 'native',
    backend_reason: null,
    threads: 1,
    spin_us: 0,
    chosen_by: 'setting',
    accuracy_level: null,
    accuracy_level_chosen_by: 'graph',
    rows: 1,
    rows_chosen_by: 'setting',
    rows_gain: null,
    speculation_chosen_by: 'probe',
  });
  assert.ok(engine.info.load_ms > 0);
  await engine.close();
});

test('an answer ends at the tokens of the manifest and at the one that the tokenizer names', async () => {
  const dir = copy();
  changeManifest(dir, (manifest) => {
    manifest.eos_token_ids = [7];
  });
  const { stopIds } = await readModelDirectory(dir);
  assert.deepEqual([...stopIds], [7, tinySpecialTokens.imEnd]);
});

test('a directory that is not there, or holds no manifest, is missing', async () => {
  await assertRefused('/nonexistent', 'model_missing', /\/nonexistent$/);
  const empty = mkdtempSync(join(tmpdir(), 'slmd-model-'));
  copies.push(empty);
  await assertRefused(empty, 'model_missing', /slmd-model\.json/);
});

for (const name of ['model.onnx', 'model.onnx.data', 'tokenizer.json', 'chat_template.jinja']) {
  test(`a model whose ${name} is gone is missing, by that name`, async () => {
    const dir = copy();
    rmSync(join(dir, name));
    await assertRefused(dir, 'model_missing', new RegExp(`/${name.replaceAll('.', '\\.')},`));
  });
}

test('a file that is shorter than the manifest says is invalid, by name and sizes', async () => {
  const dir = copy();
  truncateSync(join(dir, 'model.onnx.data'), 1000);
  await assertRefused(dir, 'model_invalid', /model\.onnx\.data .*\b1000\b/);
});

test('a file with one changed byte is invalid, by name', async () => {
  const dir = copy();
  const path = join(dir, 'model.onnx.data');
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
  await assertRefused(dir, 'model_invalid', /model\.onnx\.data .*SHA-256/);
});

test('a manifest that is no JSON, or another format, or names files elsewhere, is invalid', async () => {
  const dir = copy();
  writeFileSync(join(dir, manifestFile), '{"format": 1');
  await assertRefused(dir, 'model_invalid', /slmd-model\.json/);
  const later = copy();
  changeManifest(later, (manifest) => Object.assign(manifest, { format: 3 }));
  await assertRefused(later, 'model_invalid', /slmd-model\.json .*format/);
  const half = copy();
  changeManifest(half, (manifest) => Object.assign(manifest, { format: 2 }));
  await assertRefused(half, 'model_invalid', /slmd-model\.json .*layout/);
  const outside = copy();
  changeManifest(outside, ({ files }) => {
    files['../secret'] = files['model.onnx']!;
  });
  await assertRefused(outside, 'model_invalid', /\.\.\/secret/);
  const partial = copy();
  changeManifest(partial, ({ files }) => {
    delete files['tokenizer.json'];
  });
  await assertRefused(partial, 'model_invalid', /tokenizer\.json/);
});

test('a tokenizer or a template that cannot be read is invalid, by name', async () => {
  const noTokenizer = copy();
  replace(noTokenizer, 'tokenizer.json', '{"model": {"type": "None"}}');
  await assertRefused(noTokenizer, 'model_invalid', /tokenizer\.json/);
  const noTemplate = copy();
  replace(noTemplate, 'chat_template.jinja', '{% for %}');
  await assertRefused(noTemplate, 'model_invalid', /chat_template\.jinja/);
});

test('a graph that cannot be loaded, or lacks the interface, is invalid', async () => {
  const garbage = copy();
  replace(garbage, 'model.onnx', 'no graph at all');
  await assertRefused(garbage, 'model_invalid', /model\.onnx/);
  const renamed = copy();
  const graph = readFileSync(join(good, 'model.onnx')).toString('latin1');
  replace(renamed, 'model.onnx', Buffer.from(graph.replaceAll('seqlens_k', 'seqlens_x'), 'latin1'));
  await assertRefused(renamed, 'model_invalid', /seqlens_x/);
});

test('a model that computes no finite logits is invalid before anybody asks it', async () => {
  const dir = copy();
  const { length } = readFileSync(join(dir, 'model.onnx.data'));
  replace(dir, 'model.onnx.data', Buffer.alloc(length, 0xff));
  await assertRefused(dir, 'model_invalid', /not finite/);
});

test('a manifest with another vocabulary than the graph is invalid', async () => {
  const dir = copy();
  changeManifest(dir, ({ geometry }) => {
    geometry.vocabulary_size = 300;
  });
  await assertRefused(dir, 'model_invalid', /260 .*300/);
});
