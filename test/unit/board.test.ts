import assert from 'node:assert/strict';
import { arch } from 'node:os';
import { type TestContext, test } from 'node:test';
import { Board } from '../../src/telemetry/board.ts';
import { temporaryDir } from '../support/temporary.ts';

const cores = (features: string) =>
  [0, 1, 2, 3]
    .map((core) => `processor\t: ${core}\nBogoMIPS\t: 108.00\nFeatures\t: ${features}\n`)
    .join('\n');

const pi5 = {
  'proc/device-tree/model': 'Raspberry Pi 5 Model B Rev 1.0\0',
  'proc/cpuinfo': `${cores('fp asimd evtstrm crc32 atomics asimddp')}\nRevision\t: d04170\n`,
  'proc/meminfo': 'MemTotal:        8245952 kB\nMemFree:         100 kB\nMemAvailable:    6144000 kB\n',
  'proc/loadavg': '0.42 0.30 0.20 1/180 4242\n',
  'proc/4242/status': 'Name:\tnode\nVmHWM:\t   70000 kB\nVmRSS:\t   65536 kB\nThreads:\t8\n',
  'sys/class/thermal/thermal_zone0/temp': '51234\n',
  'sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled': '0\n',
};

const pi4 = {
  'proc/device-tree/model': 'Raspberry Pi 4 Model B Rev 1.4\0',
  'proc/cpuinfo': cores('fp asimd evtstrm crc32 cpuid'),
  'proc/meminfo': 'MemTotal:        3884340 kB\nMemAvailable:    3000000 kB\n',
  'proc/loadavg': '4.00 3.00 2.00 5/180 99\n',
  'sys/class/thermal/thermal_zone0/temp': '84710\n',
  'sys/devices/platform/soc/soc:firmware/get_throttled': '50005\n',
};

function boardOf(context: TestContext, files: Record<string, string>): Board {
  return new Board(temporaryDir(context, files));
}

test('a Pi 5 says what it is', (context) => {
  assert.deepEqual(boardOf(context, pi5).identity(), {
    model: 'Raspberry Pi 5 Model B Rev 1.0',
    arch: arch(),
    cpu: null,
    cpu_features: ['asimd', 'asimddp'],
    cores: 4,
    memory_bytes: 8_245_952 * 1024,
  });
});

test('a Pi 5 that is well has a temperature, memory, a load and nothing throttled', (context) => {
  assert.deepEqual(boardOf(context, pi5).health(), {
    soc_temp_c: 51.2,
    throttled: [],
    load_1m: 0.42,
    memory_total_bytes: 8_245_952 * 1024,
    memory_available_bytes: 6_144_000 * 1024,
  });
});

test('a Pi 4 with a weak supply says what holds now, not what once did', (context) => {
  const { soc_temp_c, throttled } = boardOf(context, pi4).snapshot();
  // 0x50005: under voltage and throttled now; bits 16 and 18 say the same of the past.
  assert.deepEqual([soc_temp_c, throttled], [84.7, ['under_voltage', 'throttled']]);
  const before = { ...pi4, 'sys/devices/platform/soc/soc:firmware/get_throttled': '80000\n' };
  assert.deepEqual(boardOf(context, before).throttledSinceBoot(), ['soft_temperature_limit']);
  assert.deepEqual(boardOf(context, before).snapshot().throttled, []);
});

test('a Pi 5 that is throttled says so, though its firmware is found elsewhere', (context) => {
  const path = 'sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled';
  assert.deepEqual(boardOf(context, { ...pi5, [path]: 'e0008\n' }).snapshot().throttled, [
    'soft_temperature_limit',
  ]);
});

test('each bit of the firmware has its own word', (context) => {
  const words = ['1', '2', '4', '8', 'f', '50000', 'e0000'].map((word) => {
    const path = 'sys/devices/platform/soc/soc:firmware/get_throttled';
    return boardOf(context, { [path]: `${word}\n` }).snapshot().throttled;
  });
  const all = ['under_voltage', 'frequency_capped', 'throttled', 'soft_temperature_limit'];
  assert.deepEqual(words, [...all.map((word) => [word]), all, [], []]);
});

test('a machine without sensors says null for each, and has memory and cores all the same', (context) => {
  const board = boardOf(context, {});
  assert.deepEqual(board.snapshot(), {
    soc_temp_c: null,
    throttled: [],
    energy_j: null,
    energy_source: 'none',
  });
  const { model, cpu, cpu_features, cores: count, memory_bytes } = board.identity();
  assert.deepEqual([model, cpu, cpu_features], [null, null, []]);
  assert.ok(count > 0 && memory_bytes > 0);
  const { load_1m, memory_total_bytes, memory_available_bytes } = board.health();
  assert.ok(Number.isFinite(load_1m) && memory_total_bytes > 0);
  assert.equal(memory_available_bytes, null);
});

test('a sensor that says nonsense says null, never NaN', (context) => {
  for (const nonsense of ['', '\n', 'n/a', '0x', '--', 'NaN', 'Infinity']) {
    const files = Object.fromEntries(Object.keys({ ...pi5, ...pi4 }).map((path) => [path, nonsense]));
    const board = boardOf(context, files);
    const { soc_temp_c, throttled, load_1m, memory_total_bytes } = board.health();
    assert.deepEqual([soc_temp_c, throttled], [null, []], nonsense);
    assert.ok(Number.isFinite(load_1m) && Number.isFinite(memory_total_bytes), nonsense);
    assert.ok(board.identity().cores > 0);
  }
});

test('a temperature below zero and one of zero are temperatures', (context) => {
  for (const [text, celsius] of [
    ['-5400', -5.4],
    ['0', 0],
  ] as const)
    assert.equal(
      boardOf(context, { 'sys/class/thermal/thermal_zone0/temp': text }).health().soc_temp_c,
      celsius,
    );
});

test('the memory of a process is its resident set, and null where it is gone', (context) => {
  const board = boardOf(context, pi5);
  assert.deepEqual([board.residentBytes(4242), board.residentBytes(1)], [65_536 * 1024, null]);
});

test('this machine can be asked, whatever it is', () => {
  const board = new Board();
  assert.ok(board.identity().cores > 0);
  assert.ok((board.residentBytes(process.pid) ?? 1) > 0);
  assert.ok(Number.isFinite(board.health().load_1m));
});
