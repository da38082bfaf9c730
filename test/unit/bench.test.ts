import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Comparison, PeerResult } from '../../scripts/bench/compare.ts';
import { promptOf } from '../../scripts/bench/measures.ts';
import type { LayoutName } from '../../scripts/bench/models/build.ts';
import { q4BlockBytes } from '../../scripts/bench/models/gguf.ts';
import { writeLlamaCppModel } from '../../scripts/bench/models/llama-cpp-model.ts';
import { plot } from '../../scripts/bench/plot.ts';
import { writeRandomCheckpoint } from '../../scripts/bench/random-checkpoint.ts';
import { comparisonTable, medianOf, ratioOf, settingsLines } from '../../scripts/bench/report.ts';
import { answerText, forms } from '../../scripts/bench/schema-questions.ts';
import { selfTable } from '../../scripts/bench/self.ts';
import { median } from '../../scripts/bench/statistics.ts';
import { targetTable } from '../../scripts/bench/targets.ts';
import { heldOutSets } from '../../scripts/train/data/sets.ts';
import { Checkpoint } from '../../src/builder/checkpoint.ts';
import { validatorOf } from '../support/schemas.ts';

const work = mkdtempSync(join(tmpdir(), 'slmd-bench-test-'));
after(() => rmSync(work, { recursive: true }));

const config = {
  architectures: ['LlamaForCausalLM'],
  hidden_act: 'silu',
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 300,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
};

test('a GGUF file holds the checkpoint in Q4_0, with the halves of each rotated head interleaved', async () => {
  const [checkpointDir, path] = [join(work, 'checkpoint'), join(work, 'model.gguf')];
  await writeRandomCheckpoint(checkpointDir, config);
  await writeLlamaCppModel(checkpointDir, path);
  const { metadata, tensors } = readGguf(readFileSync(path));
  assert.equal(metadata['llama.attention.head_count_kv'], 1);
  assert.equal(metadata['general.architecture'], 'llama');
  const checkpoint = await Checkpoint.open(checkpointDir);
  after(() => checkpoint.close());
  const headRows = 32;
  const rotated = (row: number) => {
    const [head, within] = [Math.floor(row / headRows), row % headRows];
    return head * headRows + Math.floor(within / 2) + (within % 2) * (headRows / 2);
  };
  await compare('blk.0.attn_q.weight', 'model.layers.0.self_attn.q_proj.weight', [64, 64], rotated);
  await compare('blk.0.attn_v.weight', 'model.layers.0.self_attn.v_proj.weight', [32, 64], (row) => row);
  await compare('token_embd.weight', 'model.embed_tokens.weight', [300, 64], (row) => row);

  async function compare(
    name: string,
    source: string,
    shape: [number, number],
    from: (row: number) => number,
  ) {
    const [rows, columns] = shape;
    checkpoint.expect(source, shape);
    const weights: number[] = [];
    for await (const slab of checkpoint.rows(source, 0, rows, columns)) weights.push(...slab);
    const stored = tensors.get(name)!;
    assert.deepEqual(stored.dimensions, [columns, rows]);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const { value, scale } = q4Weight(stored.bytes, row * columns + column);
        const error = Math.abs(value - weights[from(row) * columns + column]!);
        // Half a step, a whole one at the end that has a level less, and what float16 takes from the scale.
        assert.ok(error <= Math.abs(scale) * 1.01, `${name} ${row},${column}: off by ${error / scale} steps`);
      }
    }
  }
});

test('a prompt begins like every shorter one of its seed, and unlike that of another', () => {
  assert.deepEqual(promptOf(3)(40).slice(0, 20), promptOf(3)(20));
  assert.notDeepEqual(promptOf(3)(20), promptOf(4)(20));
});

test('the median of an even number of values is between the middle two', () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([9, 1, 5]), 5);
  assert.ok(Number.isNaN(median([])));
});

const peer = (column: PeerResult['column'], more: Partial<PeerResult>): PeerResult => ({
  column,
  version: '1',
  settings: '',
  samples: {},
  firstTokens: [],
  failure: null,
  ...more,
});

const comparison: Comparison = {
  shape: 'some',
  threads: 1,
  clock: 'wall',
  loads: [0],
  peers: {
    slmd: peer('slmd', { samples: { decode_128: [30, 10, 20], load: [100] }, firstTokens: [1, 2] }),
    growing: peer('onnxruntime-node', { samples: { decode_128: [4], load: [50] }, firstTokens: [1, 3] }),
    shared: peer('onnxruntime-node', { samples: { decode_128: [5], load: [80] } }),
    'llama.cpp': peer('llama.cpp', { failure: 'no binary for this processor' }),
  },
};

test('of two ways to use a peer the better counts, and a ratio above one says that slmd is better', () => {
  assert.equal(medianOf(comparison, 'onnxruntime-node', 'decode_128'), 5);
  assert.equal(ratioOf(comparison, 'onnxruntime-node', 'decode_128'), 4);
  assert.equal(ratioOf(comparison, 'onnxruntime-node', 'load'), 0.5);
});

test('slmd with coarser weights has a table of its own, and is no peer in the other', () => {
  const coarse = peer('slmd block 128', { samples: { decode_128: [25] } });
  const both = { ...comparison, peers: { ...comparison.peers, coarse } };
  const decode = (own: PeerResult['column']) =>
    comparisonTable(both, own)
      .split('\n')
      .find((line) => line.startsWith('decode, context 128'))!;
  assert.match(decode('slmd'), /tokens\/s +20\.0 +5\.00 +4\.00×/);
  assert.match(decode('slmd block 128'), /tokens\/s +25\.0 +5\.00 +5\.00×/);
  assert.match(targetTable([both]), /blocks of 128 against 32 +≥ 1\.25× +1\.25× +met/);
});

test('a peer that could not be measured has no number, no ratio, and its reason', () => {
  assert.equal(medianOf(comparison, 'llama.cpp', 'decode_128'), undefined);
  assert.equal(ratioOf(comparison, 'llama.cpp', 'decode_128'), undefined);
  assert.match(comparisonTable(comparison), /llama\.cpp/);
  const lines = settingsLines(comparison);
  assert.match(lines.find((line) => line.startsWith('llama.cpp'))!, /no binary for this processor/);
  assert.match(lines.find((line) => line.startsWith('growing'))!, /1 of 2/);
  assert.match(plot([comparison]), /not measured/);
});

test('a layout is compared with block 32 at the same context, and with what the memory gives', () => {
  const cell = (context: number, layout: LayoutName, speed: number) => ({
    context,
    layout,
    prefillTokensPerSecond: [speed],
    tokensPerSecond: [speed],
    bytesPerToken: 100e6,
  });
  const cells = [16, 128, 512, 2048].flatMap((context) => [
    cell(context, 'block 32', 100),
    cell(context, 'block 64', 150),
    cell(context, 'block 128', 200),
  ]);
  const lines = selfTable({ shape: 'some', bandwidths: [40e9], cells, rows: [] }).split('\n');
  const line = lines[1]!;
  assert.deepEqual(line.match(/[\d.]+×|\d+ %/g), ['25 %', '1.00×', '38 %', '1.50×', '50 %', '2.00×']);
  const prefill = lines.find((text) => text.startsWith('prefill, 512'))!;
  assert.deepEqual(prefill.match(/[\d.]+×/g), ['1.00×', '1.50×', '2.00×']);
});

interface ReadTensor {
  dimensions: number[];
  bytes: Uint8Array;
}

/** Reads what the test looks at, by the format's own description. */
function readGguf(file: Buffer): { metadata: Record<string, unknown>; tensors: Map<string, ReadTensor> } {
  let end = 0;
  const next = (bytes: number) => {
    end += bytes;
    return file.subarray(end - bytes, end);
  };
  const u32 = () => next(4).readUInt32LE();
  const u64 = () => Number(next(8).readBigUInt64LE());
  const text = () => next(u64()).toString('utf8');
  const value = (type: number): unknown => {
    if (type === 8) return text();
    if (type === 6) return next(4).readFloatLE();
    if (type !== 9) return u32();
    const [element, length] = [u32(), u64()];
    return Array.from({ length }, () => value(element));
  };
  assert.equal(next(4).toString('latin1'), 'GGUF');
  assert.equal(u32(), 3);
  const [tensorCount, metadataCount] = [u64(), u64()];
  const metadata: Record<string, unknown> = {};
  for (let i = 0; i < metadataCount; i++) {
    const key = text();
    metadata[key] = value(u32());
  }
  const listed = Array.from({ length: tensorCount }, () => {
    const name = text();
    const dimensions = Array.from({ length: u32() }, u64);
    return { name, dimensions, type: u32(), offset: u64() };
  });
  const data = Math.ceil(end / 32) * 32;
  const tensors = new Map<string, ReadTensor>();
  for (const { name, dimensions, offset } of listed)
    tensors.set(name, { dimensions, bytes: new Uint8Array(file.subarray(data + offset)) });
  return { metadata, tensors };
}

/** ggml's `block_q4_0`: a float16 scale, then the first half of the block in the low nibbles, the second in the high. */
function q4Weight(bytes: Uint8Array, index: number): { value: number; scale: number } {
  const [block, within] = [Math.floor(index / 32) * q4BlockBytes, index % 32];
  const scale = new Float16Array(bytes.slice(block, block + 2).buffer)[0]!;
  const byte = bytes[block + 2 + (within % 16)]!;
  return { value: scale * (((byte >> (within < 16 ? 0 : 4)) & 15) - 8), scale };
}

test('what a model is told to say under a schema is valid under it, its members in order', () => {
  const commands = heldOutSets(1, 100).values.filter(({ kind }) => kind === 'command');
  assert.ok(commands.length > 20);
  for (const form of Object.values(forms)) {
    const isValid = validatorOf(form.schema);
    const order = Object.keys(form.schema.properties);
    for (const command of commands) {
      const said = JSON.parse(answerText(form, command)) as Record<string, unknown>;
      assert.ok(isValid(said), JSON.stringify(said));
      assert.deepEqual(
        Object.keys(said),
        order.filter((name) => name in said),
      );
    }
  }
});
