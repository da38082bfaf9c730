import { writeFileSync } from 'node:fs';

export type WeightType = 'F32' | 'F16' | 'BF16';

export interface FileTensor {
  shape: number[];
  values: Float32Array;
}

/** Writes a safetensors file; values are rounded to `dtype` by cutting bits off. */
export function writeSafetensors(path: string, tensors: Record<string, FileTensor>, dtype: WeightType): void {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  const chunks: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const bytes = encode(values, dtype);
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
    chunks.push(bytes);
  }
  writeFileSync(path, safetensorsBytes(header, Buffer.concat(chunks)));
}

/** A file with any header, valid or not. */
export function safetensorsBytes(header: unknown, data: Uint8Array): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  // As the reference writer does: spaces until the data starts on a multiple of eight.
  const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, data]);
}

function encode(values: Float32Array, dtype: WeightType): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const narrow = dtype === 'BF16' ? (word: number) => word >>> 16 : toHalf;
  return new Uint8Array(Uint16Array.from(words, narrow).buffer);
}

/** The bits of a float32 as binary16; magnitudes under 2⁻¹⁴ become zero, and none may reach 2¹⁶. */
function toHalf(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const exponent = ((word >>> 23) & 255) - 112;
  if (exponent <= 0) return sign;
  return sign | (exponent << 10) | ((word >>> 13) & 0x3ff);
}
