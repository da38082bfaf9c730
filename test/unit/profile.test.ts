import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { type ConfigError, loadConfig } from '../../src/config/config.ts';
import { chooseProfile } from '../../src/config/profile.ts';
import { Board } from '../../src/telemetry/board.ts';
import { temporaryDir } from '../support/temporary.ts';

const shipped = join(import.meta.dirname, '..', '..', 'devices');
const names = readdirSync(shipped)
  .filter((file) => file.endsWith('.yaml'))
  .map((file) => basename(file, '.yaml'));

test('every profile that ships is a valid configuration by itself', () => {
  assert.ok(names.length > 0);
  for (const name of names) {
    const sources = { file: null, env: { SLMD_PROFILE: name }, profiles_dir: shipped };
    assert.equal(loadConfig({ ...sources, board: { model: null, arch: 'none' } }).profile.name, name);
  }
});

const boards: [string | null, string, string][] = [
  ['Raspberry Pi 5 Model B Rev 1.0', 'arm64', 'raspberry-pi-5'],
  ['Raspberry Pi 500 Rev 1.0', 'arm64', 'raspberry-pi-5'],
  ['Raspberry Pi Compute Module 5 Lite Rev 1.0', 'arm64', 'raspberry-pi-5'],
  ['Raspberry Pi 4 Model B Rev 1.4', 'arm64', 'raspberry-pi-4'],
  ['Raspberry Pi 400 Rev 1.0', 'arm64', 'raspberry-pi-4'],
  ['Raspberry Pi Compute Module 4 Rev 1.1', 'arm64', 'raspberry-pi-4'],
  ['Raspberry Pi 3 Model B Plus Rev 1.3', 'arm64', 'raspberry-pi-3'],
  ['Raspberry Pi 3 Model A Plus Rev 1.0', 'arm64', 'raspberry-pi-3'],
  ['Raspberry Pi Compute Module 3 Plus Rev 1.0', 'arm64', 'raspberry-pi-3'],
  ['Raspberry Pi 2 Model B Rev 1.2', 'arm64', 'raspberry-pi-3'],
  ['Raspberry Pi Zero 2 W Rev 1.0', 'arm64', 'raspberry-pi-zero-2'],
  ['Radxa ROCK 5B', 'arm64', 'generic-arm64'],
  [null, 'arm64', 'generic-arm64'],
  [null, 'x64', 'generic-x64'],
];

for (const [model, arch, name] of boards)
  test(`a board whose device tree says ${model ?? 'nothing'} (${arch}) gets the profile ${name}`, (context) => {
    const files = model === null ? {} : { 'proc/device-tree/model': `${model}\0` };
    const board = { ...new Board(temporaryDir(context, files)).identity(), arch };
    const { config, profile } = loadConfig({ file: null, env: {}, board, profiles_dir: shipped });
    assert.equal(profile.name, name);
    assert.equal(profile.chosen_by, name.startsWith('generic-') ? 'architecture' : 'model');
    assert.equal(profile.settings['limits.queue_depth_max'], config.limits.queue_depth_max);
    assert.deepEqual(config.engine, { ...config.engine, ...settingsOf(name).engine });
    assert.deepEqual(config.limits, { ...config.limits, ...settingsOf(name).limits });
    assert.deepEqual(config.model, { ...config.model, ...settingsOf(name).model });
  });

/** What a profile sets, as it stands in the file. */
function settingsOf(name: string): { engine: object; limits: object; model: object } {
  const { config } = parse(readFileSync(join(shipped, `${name}.yaml`), 'utf8'));
  return config as ReturnType<typeof settingsOf>;
}

test('every profile says where each of its speeds is from, and sets threads, chunk, context, queue and kind of model', () => {
  for (const name of names) {
    const { profile } = chooseProfile(shipped, name, { model: null, arch: 'none' });
    const { engine, limits, model } = settingsOf(name);
    assert.deepEqual(
      ['threads', 'prefill_chunk_tokens', 'context_length_max'].filter((setting) => !(setting in engine)),
      [],
    );
    assert.ok('queue_depth_max' in limits && 'queue_bytes_max' in limits, name);
    assert.ok('variant' in model && 'kv_cache' in model, name);
    assert.ok(profile?.hardware !== undefined, name);
    for (const { decode_tokens_per_second, source } of profile.expected)
      assert.equal(decode_tokens_per_second === null, source === 'not measured', `${name}: ${source}`);
  }
});

test('a board that no profile knows gets none, and the defaults are in force', () => {
  const board = { model: 'Something', arch: 'riscv64' };
  assert.equal(chooseProfile(shipped, 'auto', board).profile, null);
  const { config, profile } = loadConfig({ file: null, env: {}, board, profiles_dir: shipped });
  assert.deepEqual(profile, { name: 'none', chosen_by: 'none', settings: {} });
  assert.equal(config.engine.context_length_max, 4096);
});

test('a longer model name wins over a shorter one, and any model name over an architecture', (context) => {
  const generic = readFileSync(join(shipped, 'generic-arm64.yaml'), 'utf8');
  const matching = (match: string) => generic.replace(/^match: .*$/m, `match: ${match}`);
  const dir = temporaryDir(context, {
    'a-arch.yaml': generic,
    'b-short.yaml': matching('{ model: [Pi, Board] }'),
    'c-long.yaml': matching('{ model: [Pi 5] }'),
  });
  const chosen = (model: string) => chooseProfile(dir, 'auto', { model, arch: 'arm64' }).profile?.name;
  assert.deepEqual([chosen('Other'), chosen('Pi 4'), chosen('Pi 5')], ['a-arch', 'b-short', 'c-long']);
});

test('a profile that is named is taken whatever the board is', () => {
  const board = { model: 'Raspberry Pi 5 Model B Rev 1.0', arch: 'arm64' };
  const load = (env: NodeJS.ProcessEnv) => loadConfig({ file: null, env, board, profiles_dir: shipped });
  const { profile } = load({ SLMD_PROFILE: 'raspberry-pi-3' });
  assert.deepEqual([profile.name, profile.chosen_by], ['raspberry-pi-3', 'setting']);
  for (const name of ['raspberry-pi-9', '../devices/raspberry-pi-3', ''])
    assert.throws(() => load({ SLMD_PROFILE: name }), { code: 'config_invalid' }, name);
});

test('a file that is not a profile is a problem for every board, and all its problems are said at once', (context) => {
  const whole = readFileSync(join(shipped, 'generic-x64.yaml'), 'utf8');
  const broken: [string, string[]][] = [
    ['- a', ['']],
    ['title: "a', ['']],
    [whole.replace('match: {', 'match: { board: x,'), ['match']],
    [
      whole.replace('cores: null', 'cores: many').replace('arch: x64', 'arch: 64'),
      ['hardware.cores', 'match.arch'],
    ],
    [
      whole
        .replace('threads: 0', 'threads: -1')
        .replace('prefill_chunk', 'chunk')
        .replace('variant: int4', 'variant: int3'),
      ['engine.chunk_tokens', 'engine.threads', 'model.variant'],
    ],
  ];
  for (const [text, paths] of broken) {
    const profiles_dir = temporaryDir(context, { 'a.yaml': text, 'b.yaml': whole });
    const board = { model: null, arch: 'x64' };
    const load = () => loadConfig({ file: null, env: {}, board, profiles_dir });
    assert.throws(load, (error: ConfigError) => {
      assert.deepEqual(error.problems.map(({ path }) => path).sort(), paths, text);
      return error.code === 'config_invalid';
    });
  }
});
