import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Checkpoint } from '../../src/builder/checkpoint.ts';
import { safetensorsBytes, type WeightType, writeSafetensors } from '../support/safetensors-file.ts';
import { temporaryDir } from '../support/temporary.ts';

const F32 = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);

function withFile(t: TestContext, bytes: Uint8Array): string {
  const dir = temporaryDir(t);
  writeFileSync(join(dir, 'model.safetensors'), bytes);
  return dir;
}

/** All rows of a tensor [rows, columns] in one array. */
async function readAll(dir: string, name: string, rows: number, columns: number): Promise<number[]> {
  const checkpoint = await Checkpoint.open(dir);
  try {
    checkpoint.expect(name, [rows, columns]);
    const values: number[] = [];
    for await (const slab of checkpoint.rows(name, 0, rows, columns)) values.push(...slab);
    return values;
  } finally {
    await checkpoint.close();
  }
}

function invalid(message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { code: string }).code, 'checkpoint_invalid');
    assert.match((error as Error).message, message);
    return true;
  };
}

describe('a checkpoint', () => {
  for (const dtype of ['F32', 'F16', 'BF16'] as WeightType[]) {
    test(`in ${dtype} is read as the float32 values it stands for`, async (t) => {
      const dir = temporaryDir(t);
      const values = Float32Array.of(0, 1, -1.5, 0.15625, -300, 2 ** -14, -(2 ** -10), 65280);
      writeSafetensors(join(dir, 'model.safetensors'), { w: { shape: [2, 4], values } }, dtype);
      assert.deepEqual(await readAll(dir, 'w', 2, 4), [...values]);
    });
  }

  test('in F16 is read with its subnormal numbers', async (t) => {
    const data = new Uint8Array(Uint16Array.of(0x0001, 0x8001, 0x03ff, 0x0200, 0x8000, 0x0400).buffer);
    const dir = withFile(
      t,
      safetensorsBytes({ w: { dtype: 'F16', shape: [1, 6], data_offsets: [0, 12] } }, data),
    );
    const unit = 2 ** -24;
    assert.deepEqual(await readAll(dir, 'w', 1, 6), [unit, -unit, 1023 * unit, 512 * unit, -0, 1024 * unit]);
  });

  test('larger than a slab is read in whole rows, in order', async (t) => {
    const dir = temporaryDir(t);
    const [rows, columns] = [1000, 700];
    const values = Float32Array.from({ length: rows * columns }, (_, i) => i);
    writeSafetensors(join(dir, 'model.safetensors'), { w: { shape: [rows, columns], values } }, 'F32');
    const checkpoint = await Checkpoint.open(dir);
    let next = 0;
    let slabs = 0;
    for await (const slab of checkpoint.rows('w', 0, rows, columns)) {
      assert.equal(slab.length % columns, 0);
      for (const value of slab) assert.equal(value, next++);
      slabs++;
    }
    assert.equal(next, rows * columns);
    assert.ok(slabs > 1);
    await checkpoint.close();
  });

  test('whose data is cut off is invalid, and the tensor is named', async (t) => {
    const bytes = safetensorsBytes({ w: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, F32(1, 2));
    const dir = withFile(t, bytes);
    truncateSync(join(dir, 'model.safetensors'), bytes.length - 1);
    await assert.rejects(Checkpoint.open(dir), invalid(/truncated: w/));
  });

  test('whose header is cut off is invalid', async (t) => {
    const bytes = safetensorsBytes({ w: { dtype: 'F32', shape: [2], data_offsets: [0, 8] } }, F32(1, 2));
    await assert.rejects(Checkpoint.open(withFile(t, bytes.subarray(0, 20))), invalid(/truncated/));
    await assert.rejects(Checkpoint.open(withFile(t, bytes.subarray(0, 5))), invalid(/truncated/));
  });

  test('that is a file of another kind is invalid', async (t) => {
    const text = Buffer.from('version https://git-lfs.github.com/spec/v1\n');
    await assert.rejects(Checkpoint.open(withFile(t, text)), invalid(/not a safetensors file/));
    await assert.rejects(
      Checkpoint.open(withFile(t, safetensorsBytes('[1]', F32()))),
      invalid(/JSON object/),
    );
    await assert.rejects(
      Checkpoint.open(withFile(t, safetensorsBytes('{"w":', F32()))),
      invalid(/JSON object/),
    );
  });

  test('with a malformed entry is invalid, and the tensor is named', async (t) => {
    for (const entry of [
      { dtype: 'F32', shape: [1] },
      { dtype: 'F32', shape: [-1], data_offsets: [0, 4] },
      { dtype: 'F32', shape: [1], data_offsets: [4, 0] },
    ]) {
      await assert.rejects(
        Checkpoint.open(withFile(t, safetensorsBytes({ w: entry }, F32(1)))),
        invalid(/ w /),
      );
    }
  });

  test('is asked for a tensor that it does not have, and names it', async (t) => {
    const checkpoint = await Checkpoint.open(withFile(t, safetensorsBytes({}, F32())));
    assert.throws(
      () => checkpoint.expect('model.norm.weight', [4]),
      invalid(/no tensor model\.norm\.weight/),
    );
    await checkpoint.close();
  });

  test('is asked for a tensor of another shape, type or size, and names it', async (t) => {
    const entries = {
      shape: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] },
      type: { dtype: 'I32', shape: [4], data_offsets: [0, 16] },
      size: { dtype: 'F32', shape: [4], data_offsets: [0, 12] },
    };
    const checkpoint = await Checkpoint.open(withFile(t, safetensorsBytes(entries, F32(1, 2, 3, 4))));
    assert.throws(() => checkpoint.expect('shape', [4]), invalid(/shape .*\[2, 2\].*\[4\]/));
    assert.throws(() => checkpoint.expect('type', [4]), invalid(/type .*I32/));
    assert.throws(() => checkpoint.expect('size', [4]), invalid(/size takes 12 bytes/));
    await checkpoint.close();
  });

  test('with a weight that is not a number is invalid, and the tensor is named', async (t) => {
    for (const value of [Number.NaN, Infinity, -Infinity]) {
      const header = { w: { dtype: 'F32', shape: [1, 3], data_offsets: [0, 12] } };
      const dir = withFile(t, safetensorsBytes(header, F32(1, value, 2)));
      await assert.rejects(readAll(dir, 'w', 1, 3), invalid(/w holds/));
    }
  });

  test('without weights is missing', async (t) => {
    await assert.rejects(Checkpoint.open(temporaryDir(t)), { code: 'checkpoint_missing' });
  });

  test('without one of its shards is missing', async (t) => {
    const dir = temporaryDir(t);
    writeSafetensors(join(dir, 'a.safetensors'), { a: { shape: [1], values: Float32Array.of(1) } }, 'F32');
    const weight_map = { a: 'a.safetensors', b: 'b.safetensors' };
    writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
    await assert.rejects(Checkpoint.open(dir), { code: 'checkpoint_missing' });
  });

  test('whose index leaves the directory is invalid, even where that leads to weights', async (t) => {
    const dir = join(temporaryDir(t), 'checkpoint');
    mkdirSync(dir);
    writeSafetensors(join(dir, '../a.safetensors'), { a: { shape: [1], values: Float32Array.of(1) } }, 'F32');
    const weight_map = { a: '../a.safetensors' };
    writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map }));
    await assert.rejects(Checkpoint.open(dir), invalid(/outside/));
  });

  test('whose file shrinks while it is read is invalid', async (t) => {
    const header = { w: { dtype: 'F32', shape: [1, 2], data_offsets: [0, 8] } };
    const dir = withFile(t, safetensorsBytes(header, F32(1, 2)));
    const checkpoint = await Checkpoint.open(dir);
    const path = join(dir, 'model.safetensors');
    truncateSync(path, readFileSync(path).length - 4);
    await assert.rejects(checkpoint.rows('w', 0, 1, 2).next(), invalid(/ended at byte/));
    await checkpoint.close();
    rmSync(path);
  });
});
