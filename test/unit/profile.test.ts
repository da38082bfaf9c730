import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { chooseProfile } from '../../src/config/profile.ts';
import { temporaryDir } from '../support/temporary.ts';

const shipped = join(import.meta.dirname, '..', '..', 'devices');
const names = readdirSync(shipped).map((file) => basename(file, '.yaml'));

test('every profile that ships is a valid configuration by itself', () => {
  assert.ok(names.length > 0);
  for (const name of names) {
    const sources = { file: null, env: { SLMD_PROFILE: name }, profiles_dir: shipped };
    assert.equal(loadConfig({ ...sources, board: { model: null, arch: 'none' } }).profile, name);
  }
});

test('each board gets its own profile by the model name that its firmware gives', () => {
  const boards: [string | null, string, string][] = [
    ['Raspberry Pi 5 Model B Rev 1.0', 'arm64', 'raspberry-pi-5'],
    ['Raspberry Pi 500 Rev 1.0', 'arm64', 'raspberry-pi-5'],
    ['Raspberry Pi 4 Model B Rev 1.4', 'arm64', 'raspberry-pi-4'],
    ['Raspberry Pi 400 Rev 1.0', 'arm64', 'raspberry-pi-4'],
    ['Raspberry Pi 3 Model B Plus Rev 1.3', 'arm64', 'raspberry-pi-3'],
    ['Raspberry Pi 3 Model A Plus Rev 1.0', 'arm64', 'raspberry-pi-3'],
    ['Raspberry Pi Zero 2 W Rev 1.0', 'arm64', 'raspberry-pi-zero-2'],
    ['Radxa ROCK 5B', 'arm64', 'generic-arm64'],
    [null, 'arm64', 'generic-arm64'],
    [null, 'x64', 'generic-x64'],
  ];
  for (const [model, arch, name] of boards)
    assert.equal(chooseProfile(shipped, 'auto', { model, arch })?.name, name, String(model));
});

test('a board that no profile knows gets none, and the defaults are in force', () => {
  const board = { model: 'Something', arch: 'riscv64' };
  assert.equal(chooseProfile(shipped, 'auto', board), null);
  const { config, profile } = loadConfig({ file: null, env: {}, board, profiles_dir: shipped });
  assert.deepEqual([profile, config.engine.context_length_max], ['none', 4096]);
});

test('a longer model name wins over a shorter one, and any model name over an architecture', (context) => {
  const dir = temporaryDir(context, {
    'a-arch.yaml': 'title: a\nmatch: { arch: arm64 }\nconfig: {}\n',
    'b-short.yaml': 'title: b\nmatch: { model: Pi }\nconfig: {}\n',
    'c-long.yaml': 'title: c\nmatch: { model: Pi 5 }\nconfig: {}\n',
  });
  const chosen = (model: string) => chooseProfile(dir, 'auto', { model, arch: 'arm64' })?.name;
  assert.deepEqual([chosen('Other'), chosen('Pi 4'), chosen('Pi 5')], ['a-arch', 'b-short', 'c-long']);
});

test('a profile that is named is taken whatever the board is', () => {
  const board = { model: 'Raspberry Pi 5 Model B Rev 1.0', arch: 'arm64' };
  const load = (env: NodeJS.ProcessEnv) => loadConfig({ file: null, env, board, profiles_dir: shipped });
  assert.equal(load({ SLMD_PROFILE: 'raspberry-pi-3' }).profile, 'raspberry-pi-3');
  for (const name of ['raspberry-pi-9', '../devices/raspberry-pi-3', ''])
    assert.throws(() => load({ SLMD_PROFILE: name }), { code: 'config_invalid' }, name);
});

test('a profile that is not one is a problem, and not taken in silence', (context) => {
  for (const text of ['title: a', 'title: a\nmatch: { board: x }\nconfig: {}', '- a']) {
    const profiles_dir = temporaryDir(context, { 'a.yaml': text });
    const board = { model: null, arch: 'arm64' };
    assert.throws(() => loadConfig({ file: null, env: {}, board, profiles_dir }), { code: 'config_invalid' });
  }
});
