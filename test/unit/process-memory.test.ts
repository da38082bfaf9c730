import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryOf, sumOf } from '../../scripts/bench/process-memory.ts';
import { rssBytesOf } from '../support/processes.ts';

const mapping = (
  path: string,
  rss: number,
  anonymous: number,
) => `7f00-7f10 r-xp 00000000 08:01 42     ${path}
Size:                400 kB
Rss:                 ${rss} kB
Anonymous:           ${anonymous} kB
THPeligible:           0
VmFlags: rd ex mr mw me
`;

test('what a process holds is its own, or of the file that it is a page of', () => {
  const smaps = [
    mapping('/opt/bin/node', 100, 1),
    mapping('/lib/libonnxruntime.so.1', 50, 2),
    mapping('/models/model.onnx.data', 20, 0),
    mapping('/lib/libc.so.6', 7, 3),
    mapping('[heap]', 30, 30),
    mapping('', 40, 40),
  ].join('');
  assert.deepEqual(sumOf(smaps), {
    resident_bytes: 247 * 1024,
    own_bytes: 76 * 1024,
    file_bytes: { node: 99 * 1024, onnxruntime: 48 * 1024, model: 20 * 1024, other: 4 * 1024 },
  });
});

test('nothing of a real process is left out', () => {
  const { resident_bytes, file_bytes } = memoryOf(process.pid);
  const whole = rssBytesOf(process.pid)!;
  assert.ok(Math.abs(resident_bytes - whole) < whole / 5, `${resident_bytes} of ${whole}`);
  assert.ok(file_bytes.node > 1e6);
});
