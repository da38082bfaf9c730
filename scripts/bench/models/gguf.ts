import { type FileHandle, open } from 'node:fs/promises';
import { bytesOf } from '../../../src/lib/bytes-of.ts';

/** Numbers are written as uint32; floats have to say so, because 1.0 and 1 are the same `number`. */
export type GgufValue =
  | number
  | string
  | { float: number }
  | { strings: readonly string[] }
  | { floats: Float32Array }
  | { integers: Int32Array };

/** `F32`, or blocks of 32 weights with a float16 scale, four bits each. */
export type GgufType = 'F32' | 'Q4_0';

export interface GgufTensor {
  name: string;
  /** [rows, columns], or [length]. */
  shape: readonly number[];
  type: GgufType;
}

/** Weights of a Q4_0 block. */
export const q4BlockSize = 32;
/** A float16 scale, and half a byte for each weight. */
export const q4BlockBytes = 2 + q4BlockSize / 2;

const version = 3;
const alignmentBytes = 32;
const valueTypes = { uint32: 4, int32: 5, float32: 6, string: 8, array: 9 };
const tensorTypes: Record<GgufType, number> = { F32: 0, Q4_0: 2 };

/**
 * Writes a GGUF file front to back: metadata and the list of tensors first, then their bytes in that order.
 *
 * The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export class GgufWriter {
  readonly #file: FileHandle;
  readonly #tensors: readonly GgufTensor[];
  #next = 0;

  static async create(
    path: string,
    metadata: Record<string, GgufValue>,
    tensors: readonly GgufTensor[],
  ): Promise<GgufWriter> {
    const file = await open(path, 'wx');
    const writer = new GgufWriter(file, tensors);
    const head = header(metadata, tensors);
    await file.writeFile(padded(head));
    return writer;
  }

  private constructor(file: FileHandle, tensors: readonly GgufTensor[]) {
    this.#file = file;
    this.#tensors = tensors;
  }

  /** The bytes of the next tensor, in any number of parts. */
  async tensor(name: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
    const expected = this.#tensors[this.#next++];
    if (expected?.name !== name) throw new Error(`${name} was written and ${expected?.name} is next`);
    let written = 0;
    for await (const part of parts) {
      await this.#file.appendFile(part);
      written += part.length;
    }
    if (written !== tensorBytes(expected))
      throw new Error(`${name} has ${written} bytes, not ${tensorBytes(expected)}`);
    await this.#file.appendFile(new Uint8Array(align(written) - written));
  }

  async close(): Promise<void> {
    await this.#file.close();
    if (this.#next !== this.#tensors.length) throw new Error(`${this.#tensors[this.#next]?.name} is missing`);
  }
}

function header(metadata: Record<string, GgufValue>, tensors: readonly GgufTensor[]): Buffer {
  const parts = [Buffer.from('GGUF'), uint32(version), uint64(tensors.length)];
  parts.push(uint64(Object.keys(metadata).length));
  for (const [key, value] of Object.entries(metadata)) parts.push(string(key), encode(value));
  let offset = 0;
  for (const tensor of tensors) {
    // The format counts dimensions from the innermost.
    const dimensions = tensor.shape.toReversed();
    parts.push(string(tensor.name), uint32(dimensions.length), ...dimensions.map(uint64));
    parts.push(uint32(tensorTypes[tensor.type]), uint64(offset));
    offset += align(tensorBytes(tensor));
  }
  return Buffer.concat(parts);
}

function tensorBytes({ shape, type }: GgufTensor): number {
  const size = shape.reduce((product, length) => product * length, 1);
  return type === 'F32' ? 4 * size : (size / q4BlockSize) * q4BlockBytes;
}

function encode(value: GgufValue): Buffer {
  if (typeof value === 'number') return Buffer.concat([uint32(valueTypes.uint32), uint32(value)]);
  if (typeof value === 'string') return Buffer.concat([uint32(valueTypes.string), string(value)]);
  if ('float' in value)
    return Buffer.concat([uint32(valueTypes.float32), bytesOf(Float32Array.of(value.float))]);
  if ('strings' in value) return array('string', value.strings.length, value.strings.map(string));
  if ('floats' in value) return array('float32', value.floats.length, [bytesOf(value.floats)]);
  return array('int32', value.integers.length, [bytesOf(value.integers)]);
}

function array(type: keyof typeof valueTypes, length: number, parts: readonly Buffer[]): Buffer {
  return Buffer.concat([uint32(valueTypes.array), uint32(valueTypes[type]), uint64(length), ...parts]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  return bytesOf(Uint32Array.of(value));
}

function uint64(value: number): Buffer {
  return bytesOf(BigUint64Array.of(BigInt(value)));
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(align(bytes.length) - bytes.length)]);
}

function align(bytes: number): number {
  return Math.ceil(bytes / alignmentBytes) * alignmentBytes;
}
