import { createWriteStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { parseArchitecture } from '../../src/builder/config.ts';
import { planBuild } from '../../src/builder/options.ts';
import { tensorsOf } from '../../src/builder/survey.ts';

/** Random bfloat16 values that are written again and again, each tensor's from another place. */
const poolValues = 2 ** 21 + 1;
/** Prime, and about two fifths of the pool: tensors of the same shape have little in common. */
const poolStride = 839_999;

/**
 * Writes a checkpoint of any architecture that can be built, of any size: `config.json`, and random weights
 * in bfloat16 that keep the variance of what passes through them.
 */
export async function writeRandomCheckpoint(dir: string, config: Record<string, unknown>): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const text = JSON.stringify(config, null, 2);
  writeFileSync(join(dir, 'config.json'), text);
  const architecture = parseArchitecture(text);
  const tensors = await tensorsOf(architecture, planBuild(architecture, 'random', {}));
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, shape] of tensors) {
    const begin = end;
    end += 2 * sizeOf(shape);
    header[name] = { dtype: 'BF16', shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const stream = createWriteStream(join(dir, 'model.safetensors'));
  const file = Writable.toWeb(stream).getWriter();
  await file.write(length);
  await file.write(json);
  for (const [i, [name, shape]] of [...tensors].entries()) {
    for (const chunk of valuesOf(name, shape, i * poolStride)) await file.write(chunk);
  }
  await file.close();
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

const pools = new Map<number, Uint16Array>();

/** Norms are ones; a matrix's values spread with one over the root of its columns. */
function* valuesOf(name: string, shape: readonly number[], from: number): Generator<Uint8Array> {
  const size = sizeOf(shape);
  const columns = shape.at(-1)!;
  const isNorm = shape.length === 1 && name.endsWith('.weight');
  const pool = isNorm ? new Uint16Array(size).fill(0x3f80) : randomPool(1 / Math.sqrt(columns));
  for (let done = 0, at = from % pool.length; done < size; at = 0) {
    const part = pool.subarray(at, Math.min(pool.length, at + size - done));
    yield new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    done += part.length;
  }
}

/** About normally distributed: the sum of four even distributions. */
function randomPool(deviation: number): Uint16Array {
  const known = pools.get(deviation);
  if (known !== undefined) return known;
  const values = new Float32Array(poolValues);
  const even = () => Math.random() - 0.5;
  for (let i = 0; i < values.length; i++) {
    values[i] = (even() + even() + even() + even()) * Math.sqrt(3) * deviation;
  }
  const words = new Uint32Array(values.buffer);
  const pool = Uint16Array.from(words, (word) => word >>> 16);
  pools.set(deviation, pool);
  return pool;
}
