import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { safetensorsBytes } from '../support/safetensors-file.ts';
import { writeTinyTokenizer } from '../support/tiny-tokenizer.ts';

const geometry = { hidden: 1024, intermediate: 2816, layers: 8, heads: 16, vocabulary: 8192 };

/** The process's own heap grows by this much while it works, whatever the checkpoint's size. */
const growthBytesMax = 60_000_000;

/** ONNX Runtime's library, and the states of a text. */
const runtimeBytes = 60_000_000;

describe('a build', { skip: process.platform === 'linux' ? false : 'peak memory is read from /proc' }, () => {
  let parent = '';
  before(() => {
    parent = mkdtempSync(join(tmpdir(), 'slmd-memory-'));
    writeSparseCheckpoint(parent);
    writeTinyTokenizer(parent);
  });
  after(() => rmSync(parent, { recursive: true, force: true }));

  async function growthOf(t: TestContext, ...options: string[]): Promise<number> {
    const checkpointBytes = statSync(join(parent, 'model.safetensors')).size;
    assert.ok(checkpointBytes > 200_000_000);
    const child = join(import.meta.dirname, '../support/build-in-child.ts');
    const outDir = join(parent, 'out');
    const { stdout } = await promisify(execFile)(process.execPath, [child, parent, outDir, ...options]);
    rmSync(outDir, { recursive: true });
    const growth = Number(stdout);
    t.diagnostic(`${growth / 1e6} MB for a checkpoint of ${checkpointBytes / 1e6} MB`);
    assert.ok(growth > 0, stdout);
    return growth;
  }

  for (const quantization of ['int4', 'float32']) {
    test(`in ${quantization} needs far less memory than its checkpoint has bytes`, async (t) => {
      assert.ok((await growthOf(t, quantization)) < growthBytesMax);
    });
  }

  test('that is calibrated needs the memory of one layer in float32 and of what it has seen', async (t) => {
    const { hidden, intermediate, layers } = geometry;
    const layer = 4 * (4 * hidden ** 2 + 3 * hidden * intermediate);
    const moments = 4 * 128 * layers * (3 * hidden + intermediate);
    const growth = await growthOf(t, 'int4', 'A text. '.repeat(40));
    // The layer in its file and as ONNX Runtime packs it.
    assert.ok(growth < growthBytesMax + runtimeBytes + 2 * layer + moments, `${growth} bytes`);
  });
});

/** BF16 zeros, which the file system keeps as a hole: large for the builder, nothing for the disk. */
function writeSparseCheckpoint(dir: string): void {
  const { hidden, intermediate, layers, heads, vocabulary } = geometry;
  const shapes: Record<string, number[]> = {
    'model.embed_tokens.weight': [vocabulary, hidden],
    'model.norm.weight': [hidden],
  };
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, ...shape: number[]) => {
      shapes[`model.layers.${layer}.${name}.weight`] = shape;
    };
    for (const part of ['q', 'k', 'v', 'o']) add(`self_attn.${part}_proj`, hidden, hidden);
    for (const part of ['gate', 'up']) add(`mlp.${part}_proj`, intermediate, hidden);
    add('mlp.down_proj', hidden, intermediate);
    for (const part of ['input', 'post_attention']) add(`${part}_layernorm`, hidden);
  }
  let end = 0;
  const header: Record<string, unknown> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const begin = end;
    end += 2 * shape.reduce((a, b) => a * b);
    header[name] = { dtype: 'BF16', shape, data_offsets: [begin, end] };
  }
  const start = safetensorsBytes(header, Buffer.alloc(0));
  writeFileSync(join(dir, 'model.safetensors'), start);
  const file = openSync(join(dir, 'model.safetensors'), 'r+');
  ftruncateSync(file, start.length + end);
  closeSync(file);
  const config = {
    architectures: ['LlamaForCausalLM'],
    hidden_act: 'silu',
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    vocab_size: vocabulary,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
  };
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
}
