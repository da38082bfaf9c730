import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ExternalDataWriter } from '../../src/onnx/external-data.ts';
import { temporaryDir } from '../support/temporary.ts';

test('external data starts every tensor on a page, and is known by its size and hash', async (t) => {
  const path = join(temporaryDir(t), 'model.onnx.data');
  const data = await ExternalDataWriter.create(path);
  const ranges = [];
  for (const [value, lengths] of [
    [1, [3, 4]],
    [2, [4096]],
    [3, []],
    [4, [1]],
  ] as const) {
    await data.begin();
    for (const length of lengths) await data.write(new Uint8Array(length).fill(value));
    ranges.push(data.end());
  }
  const finished = await data.finish();
  await data.close();
  const location = 'model.onnx.data';
  assert.deepEqual(ranges, [
    { location, offset: 0, length: 7 },
    { location, offset: 4096, length: 4096 },
    { location, offset: 8192, length: 0 },
    { location, offset: 8192, length: 1 },
  ]);
  const content = readFileSync(path);
  const expected = new Uint8Array(8193).fill(1, 0, 7).fill(2, 4096, 8192).fill(4, 8192);
  assert.deepEqual(new Uint8Array(content), expected);
  assert.deepEqual(finished, { bytes: 8193, sha256: createHash('sha256').update(content).digest('hex') });
});
