import type { FileHandle } from 'node:fs/promises';
import * as z from 'zod';
import { BuildError } from './errors.ts';

export interface TensorEntry {
  /** The file's own name for the element type: F32, BF16, I64, … */
  dtype: string;
  shape: number[];
  /** Byte range in the file, not in its data section. */
  begin: number;
  end: number;
}

/** No real header comes near this; a longer one is a file of another kind. */
const headerBytesMax = 100_000_000;

const count = z.number().int().nonnegative();
const entrySchema = z.object({
  dtype: z.string(),
  shape: z.array(count),
  data_offsets: z.tuple([count, count]),
});
const headerSchema = z.record(z.string(), z.unknown());

/**
 * Reads the table of contents of a safetensors file.
 *
 * A file is eight bytes with the header's length (uint64, little-endian), the header in JSON, and the
 * data that the header's offsets point into. Source: github.com/huggingface/safetensors, "Format".
 *
 * @param name what errors call the file
 * @throws BuildError `checkpoint_invalid` when the file is truncated or the header is malformed
 */
export async function readSafetensorsHeader(
  file: FileHandle,
  name: string,
): Promise<Map<string, TensorEntry>> {
  const { size } = await file.stat();
  const headerBytes = await readHeaderLength(file, name, size);
  const header = parseHeader(await readExactly(file, 8, headerBytes), name);
  const dataStart = 8 + headerBytes;
  const entries = new Map<string, TensorEntry>();
  for (const [tensor, value] of Object.entries(header)) {
    if (tensor === '__metadata__') continue;
    const parsed = entrySchema.safeParse(value);
    if (!parsed.success) throw invalid(`${name}: the header's entry for ${tensor} is malformed`);
    const { dtype, shape, data_offsets } = parsed.data;
    const entry = { dtype, shape, begin: dataStart + data_offsets[0], end: dataStart + data_offsets[1] };
    if (entry.end < entry.begin) throw invalid(`${name}: ${tensor} ends before it begins`);
    if (entry.end > size)
      throw invalid(`${name} is truncated: ${tensor} needs ${entry.end} bytes, the file has ${size}`);
    entries.set(tensor, entry);
  }
  return entries;
}

async function readHeaderLength(file: FileHandle, name: string, size: number): Promise<number> {
  if (size < 8) throw invalid(`${name} is truncated: it has ${size} bytes`);
  const length = Number((await readExactly(file, 0, 8)).readBigUInt64LE());
  if (length > headerBytesMax)
    throw invalid(`${name} is not a safetensors file: its header would be ${length} bytes`);
  if (8 + length > size)
    throw invalid(`${name} is truncated: the header needs ${8 + length} bytes, the file has ${size}`);
  return length;
}

function parseHeader(bytes: Buffer, name: string): Record<string, unknown> {
  try {
    return headerSchema.parse(JSON.parse(bytes.toString('utf8')));
  } catch (cause) {
    throw new BuildError('checkpoint_invalid', `${name}: the header is not a JSON object`, { cause });
  }
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  await readInto(file, buffer, position);
  return buffer;
}

/** Fills `into` from `position`; a file that ends early is `checkpoint_invalid`. */
export async function readInto(file: FileHandle, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) throw invalid(`a weights file ended at byte ${position + done} while it was read`);
    done += bytesRead;
  }
}

function invalid(message: string): BuildError {
  return new BuildError('checkpoint_invalid', message);
}
