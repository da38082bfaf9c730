import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Architecture } from '../../../src/builder/architecture.ts';
import { Checkpoint } from '../../../src/builder/checkpoint.ts';
import { readArchitecture } from '../../../src/builder/config.ts';
import { quantizeRows } from '../../../src/builder/quantize.ts';
import { type GgufTensor, type GgufValue, GgufWriter, q4BlockBytes, q4BlockSize } from './gguf.ts';

/** What llama.cpp calls an architecture, and whether it wants each head's rotated halves interleaved. */
const architectures: Record<string, { name: string; interleaved: boolean }> = {
  LlamaForCausalLM: { name: 'llama', interleaved: true },
  Qwen2ForCausalLM: { name: 'qwen2', interleaved: false },
};

const fileTypeQ4 = 2;
const quantizationVersion = 2;

/** A tensor of the file, with the checkpoint's that it is made of. */
interface Source extends GgufTensor {
  tensor: string;
  /** Heads whose rows are interleaved. */
  heads: number | null;
}

/** Writes a checkpoint as a GGUF file whose matrices, the tied embedding included, are Q4_0. */
export async function writeLlamaCppModel(checkpointDir: string, path: string): Promise<void> {
  const architecture = await readArchitecture(checkpointDir);
  const config = JSON.parse(await readFile(join(checkpointDir, 'config.json'), 'utf8')) as Config;
  const sources = sourcesOf(architecture, config);
  const checkpoint = await Checkpoint.open(checkpointDir);
  try {
    const writer = await GgufWriter.create(path, metadataOf(architecture, config), sources);
    for (const source of sources) await writer.tensor(source.name, contentOf(checkpoint, source));
    await writer.close();
  } finally {
    await checkpoint.close();
  }
}

interface Config {
  architectures: [string];
  intermediate_size: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  rope_theta: number;
}

function kindOf({ architectures: [name] }: Config): { name: string; interleaved: boolean } {
  const kind = architectures[name];
  if (kind === undefined) throw new Error(`${name} is not written as GGUF`);
  return kind;
}

function metadataOf(architecture: Architecture, config: Config): Record<string, GgufValue> {
  const { name } = kindOf(config);
  const { attention, layers, hiddenSize, vocabularySize } = architecture;
  return {
    'general.architecture': name,
    'general.name': 'bench',
    'general.file_type': fileTypeQ4,
    'general.quantization_version': quantizationVersion,
    [`${name}.block_count`]: layers.length,
    [`${name}.context_length`]: config.max_position_embeddings,
    [`${name}.embedding_length`]: hiddenSize,
    [`${name}.feed_forward_length`]: config.intermediate_size,
    [`${name}.attention.head_count`]: attention.heads,
    [`${name}.attention.head_count_kv`]: attention.kvHeads,
    [`${name}.attention.layer_norm_rms_epsilon`]: { float: config.rms_norm_eps },
    [`${name}.rope.dimension_count`]: attention.headSize,
    [`${name}.rope.freq_base`]: { float: config.rope_theta },
    [`${name}.vocab_size`]: vocabularySize,
    ...vocabularyOf(vocabularySize),
  };
}

/** No text is ever encoded, but the loader wants a vocabulary with a start, an end and every byte in it. */
function vocabularyOf(size: number): Record<string, GgufValue> {
  const types = { normal: 1, control: 3, byte: 6 };
  const byteOf = (id: number) => `<0x${(id - 1).toString(16).toUpperCase().padStart(2, '0')}>`;
  const isByte = (id: number) => id >= 1 && id <= 256;
  const typeOf = (id: number) => (id === 0 ? types.control : isByte(id) ? types.byte : types.normal);
  const ids = Array.from({ length: size }, (_, id) => id);
  return {
    'tokenizer.ggml.model': 'llama',
    'tokenizer.ggml.tokens': { strings: ids.map((id) => (isByte(id) ? byteOf(id) : `<${id}>`)) },
    'tokenizer.ggml.scores': { floats: new Float32Array(size) },
    'tokenizer.ggml.token_type': { integers: Int32Array.from(ids, typeOf) },
    'tokenizer.ggml.bos_token_id': 0,
    'tokenizer.ggml.eos_token_id': 0,
  };
}

function sourcesOf(architecture: Architecture, config: Config): Source[] {
  const { attention, layers, hiddenSize, vocabularySize } = architecture;
  const { interleaved } = kindOf(config);
  const inner = config.intermediate_size;
  const [queries, keys] = [attention.heads, attention.kvHeads].map((heads) => heads * attention.headSize) as [
    number,
    number,
  ];
  const matrix = (name: string, tensor: string, rows: number, columns: number, heads: number | null = null) =>
    ({ name, tensor, shape: [rows, columns], type: 'Q4_0', heads: interleaved ? heads : null }) as const;
  const vector = (name: string, tensor: string, length: number) =>
    ({ name, tensor, shape: [length], type: 'F32', heads: null }) as const;
  const layer = (_: unknown, i: number): Source[] => {
    const [to, from] = [`blk.${i}`, `model.layers.${i}`];
    const biases = [
      vector(`${to}.attn_q.bias`, `${from}.self_attn.q_proj.bias`, queries),
      vector(`${to}.attn_k.bias`, `${from}.self_attn.k_proj.bias`, keys),
      vector(`${to}.attn_v.bias`, `${from}.self_attn.v_proj.bias`, keys),
    ];
    return [
      vector(`${to}.attn_norm.weight`, `${from}.input_layernorm.weight`, hiddenSize),
      matrix(`${to}.attn_q.weight`, `${from}.self_attn.q_proj.weight`, queries, hiddenSize, attention.heads),
      matrix(`${to}.attn_k.weight`, `${from}.self_attn.k_proj.weight`, keys, hiddenSize, attention.kvHeads),
      matrix(`${to}.attn_v.weight`, `${from}.self_attn.v_proj.weight`, keys, hiddenSize),
      ...(attention.bias.qkv ? biases : []),
      matrix(`${to}.attn_output.weight`, `${from}.self_attn.o_proj.weight`, hiddenSize, queries),
      vector(`${to}.ffn_norm.weight`, `${from}.post_attention_layernorm.weight`, hiddenSize),
      matrix(`${to}.ffn_gate.weight`, `${from}.mlp.gate_proj.weight`, inner, hiddenSize),
      matrix(`${to}.ffn_up.weight`, `${from}.mlp.up_proj.weight`, inner, hiddenSize),
      matrix(`${to}.ffn_down.weight`, `${from}.mlp.down_proj.weight`, hiddenSize, inner),
    ];
  };
  return [
    matrix('token_embd.weight', 'model.embed_tokens.weight', vocabularySize, hiddenSize),
    ...layers.flatMap(layer),
    vector('output_norm.weight', 'model.norm.weight', hiddenSize),
  ];
}

async function* contentOf(
  checkpoint: Checkpoint,
  { tensor, shape, type, heads }: Source,
): AsyncGenerator<Uint8Array> {
  checkpoint.expect(tensor, shape);
  const [rows, columns] = shape as [number, number];
  if (type === 'F32') {
    yield new Uint8Array((await checkpoint.vector(tensor, rows)).buffer as ArrayBuffer);
    return;
  }
  const rowBytes = (columns / q4BlockSize) * q4BlockBytes;
  if (heads === null) {
    for await (const slab of checkpoint.rows(tensor, 0, rows, columns)) yield q4Blocks(slab, columns);
    return;
  }
  const headRows = rows / heads;
  for (let head = 0; head < heads; head++) {
    const plain = new Uint8Array(headRows * rowBytes);
    let at = 0;
    for await (const slab of checkpoint.rows(tensor, head * headRows, headRows, columns)) {
      const blocks = q4Blocks(slab, columns);
      plain.set(blocks, at);
      at += blocks.length;
    }
    yield interleaveHalves(plain, headRows, rowBytes);
  }
}

/** Rows 0, n/2, 1, n/2 + 1, …: llama.cpp rotates neighbours where the checkpoint rotates halves. */
function interleaveHalves(head: Uint8Array, rows: number, rowBytes: number): Uint8Array {
  const out = new Uint8Array(head.length);
  for (let row = 0; row < rows; row++) {
    const from = Math.floor(row / 2) + (row % 2) * (rows / 2);
    out.set(head.subarray(from * rowBytes, (from + 1) * rowBytes), row * rowBytes);
  }
  return out;
}

/** The product's own quantization in llama.cpp's layout: the block's first half in the low nibbles. */
function q4Blocks(weights: Float32Array, columns: number): Uint8Array {
  const blocks = weights.length / q4BlockSize;
  const half = q4BlockSize / 2;
  const data = new Uint8Array(blocks * half);
  const scales = new Float32Array(blocks);
  quantizeRows(weights, columns, { bits: 4, blockSize: q4BlockSize, scales: 'nearest' }, data, scales);
  const out = new Uint8Array(blocks * q4BlockBytes);
  const halves = new Float16Array(scales);
  for (let block = 0; block < blocks; block++) {
    const at = block * q4BlockBytes;
    out.set(new Uint8Array(halves.buffer, block * 2, 2), at);
    const stored = (i: number) => (data[block * half + (i >> 1)]! >> (i % 2 === 0 ? 0 : 4)) & 15;
    for (let i = 0; i < half; i++) out[at + 2 + i] = stored(i) | (stored(i + half) << 4);
  }
  return out;
}
