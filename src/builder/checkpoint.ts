import { existsSync } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as z from 'zod';
import { elements, isElementName } from './element.ts';
import { BuildError } from './errors.ts';
import { readInto, readSafetensorsHeader, type TensorEntry } from './safetensors.ts';
import { Scratch } from './scratch.ts';

/** Bytes of a checkpoint that are in memory at a time. Larger gained nothing; a row is never split. */
const slabBytesMax = 1024 * 1024;

const singleFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

interface StoredTensor extends TensorEntry {
  file: FileHandle;
}

/**
 * The tensors of a checkpoint directory, read by rows and widened to float32.
 *
 * The weights are one `model.safetensors`, or shards that `model.safetensors.index.json` names.
 */
export class Checkpoint {
  readonly #tensors: Map<string, StoredTensor>;
  readonly #files: FileHandle[];
  readonly #onRead: (bytes: number) => void;
  readonly #raw = new Scratch();
  readonly #values = new Scratch();

  /**
   * @param onRead told the number of bytes that each read took from the checkpoint
   * @throws BuildError `checkpoint_missing`, `checkpoint_invalid`
   */
  static async open(dir: string, onRead: (bytes: number) => void = () => {}): Promise<Checkpoint> {
    const files: FileHandle[] = [];
    const tensors = new Map<string, StoredTensor>();
    try {
      for (const name of await weightFiles(dir)) {
        const file = await openWeights(join(dir, name));
        files.push(file);
        for (const [tensor, entry] of await readSafetensorsHeader(file, name))
          tensors.set(tensor, { ...entry, file });
      }
    } catch (error) {
      await closeAll(files);
      throw error;
    }
    return new Checkpoint(tensors, files, onRead);
  }

  private constructor(
    tensors: Map<string, StoredTensor>,
    files: FileHandle[],
    onRead: (bytes: number) => void,
  ) {
    this.#tensors = tensors;
    this.#files = files;
    this.#onRead = onRead;
  }

  /**
   * Checks that a tensor is there with this shape and an element type that can be read.
   *
   * @returns its size in the checkpoint, in bytes
   * @throws BuildError `checkpoint_invalid`, naming the tensor
   */
  expect(name: string, shape: readonly number[]): number {
    const tensor = this.#tensors.get(name);
    if (tensor === undefined) throw invalid(`the checkpoint has no tensor ${name}`);
    if (tensor.shape.join() !== shape.join()) {
      throw invalid(
        `${name} has the shape [${tensor.shape.join(', ')}]; config.json asks for [${shape.join(', ')}]`,
      );
    }
    if (!isElementName(tensor.dtype)) {
      throw invalid(`${name} has elements of type ${tensor.dtype}; F32, F16 and BF16 can be read`);
    }
    const bytes = shape.reduce((product, size) => product * size, elements[tensor.dtype].bytes);
    if (bytes !== tensor.end - tensor.begin) {
      throw invalid(`${name} takes ${tensor.end - tensor.begin} bytes; its shape and type need ${bytes}`);
    }
    return bytes;
  }

  /** A small tensor, whole. */
  async vector(name: string, length: number): Promise<Float32Array> {
    this.expect(name, [length]);
    const out = new Float32Array(length);
    for await (const slab of this.rows(name, 0, 1, length)) out.set(slab);
    return out;
  }

  /**
   * Rows of a tensor whose last dimension is `columns`, by slabs of whole rows, in order.
   *
   * Each slab is overwritten by the next of any tensor: read one tensor at a time.
   */
  async *rows(name: string, from: number, rows: number, columns: number): AsyncGenerator<Float32Array> {
    const { file, dtype, begin } = this.#tensors.get(name)!;
    if (!isElementName(dtype)) throw new Error(`${name} was read before it was checked`);
    const { bytes, decode } = elements[dtype];
    const rowBytes = columns * bytes;
    const slabRows = Math.min(rows, Math.max(1, Math.floor(slabBytesMax / rowBytes)));
    for (let row = from; row < from + rows; row += slabRows) {
      const count = Math.min(slabRows, from + rows - row);
      const raw = this.#raw.bytes(count * rowBytes);
      await readInto(file, raw, begin + row * rowBytes);
      const slab = this.#values.floats(count * columns);
      decode(raw, slab);
      if (!allFinite(slab)) throw invalid(`${name} holds a value that is not a finite number`);
      this.#onRead(count * rowBytes);
      yield slab;
    }
  }

  async close(): Promise<void> {
    await closeAll(this.#files);
  }
}

/** The names of the weight files, each once, in the order of the index. */
async function weightFiles(dir: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(join(dir, indexFile), 'utf8');
  } catch {
    if (existsSync(join(dir, singleFile))) return [singleFile];
    throw new BuildError(
      'checkpoint_missing',
      `${dir} has no ${singleFile}, and no ${indexFile} with its shards`,
    );
  }
  const index = indexSchema.safeParse(parseJson(text));
  if (!index.success) throw invalid(`${indexFile} has no weight_map from tensors to files`);
  const names = new Set(Object.values(index.data.weight_map));
  for (const name of names) {
    if (basename(name) !== name) throw invalid(`${indexFile} names a file outside the checkpoint: ${name}`);
  }
  return [...names];
}

async function openWeights(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (cause) {
    throw new BuildError('checkpoint_missing', `${path} cannot be read`, { cause });
  }
}

/** Infinities and NaN times zero are NaN, and NaN stays in the sum: one pass without branches. */
function allFinite(values: Float32Array): boolean {
  let sum = 0;
  for (const value of values) sum += value * 0;
  return sum === 0;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function closeAll(files: readonly FileHandle[]): Promise<void> {
  await Promise.all(files.map((file) => file.close()));
}

function invalid(message: string): BuildError {
  return new BuildError('checkpoint_invalid', message);
}
