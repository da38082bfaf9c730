import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { withoutSettings } from '../../src/config/environment.ts';
import { temporaryDir } from '../support/temporary.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

/** Runs the command line as a user does, with no settings but those given. */
function slmd(args: string[], env: NodeJS.ProcessEnv = {}) {
  const options = { encoding: 'utf8' as const, env: { ...withoutSettings(), ...env } };
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], options);
  return { status, stdout, stderr };
}

test('config check of a valid configuration exits 0 with one line, and nothing on stderr', () => {
  const { status, stdout, stderr } = slmd(['config', 'check'], { SLMD_DEVICE: 'kitchen' });
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(stdout, /^[^\n]*kitchen[^\n]*\n$/);
});

test('config check of a wrong one exits 3 and names every problem with source and path', (context) => {
  const dir = temporaryDir(context, { 'slmd.yaml': 'mqtt: { keepalive_s: 0, nonsense: 1 }' });
  const args = ['config', 'check', '--config', join(dir, 'slmd.yaml')];
  const { status, stdout, stderr } = slmd(args, { SLMD_ENGINE_THREADS: 'many' });
  assert.deepEqual([status, stdout], [3, '']);
  for (const part of ['mqtt.keepalive_s', 'mqtt.nonsense', 'SLMD_ENGINE_THREADS', join(dir, 'slmd.yaml')])
    assert.ok(stderr.includes(part), part);
  assert.ok(!stderr.includes('    at '), 'a problem of the user is no stack');
});

test('SLMD_CONFIG names the file, and a file that is not there is a problem', (context) => {
  const dir = temporaryDir(context, { 'slmd.yaml': 'device: garden' });
  const found = slmd(['config', 'check'], { SLMD_CONFIG: join(dir, 'slmd.yaml') });
  assert.equal(found.status, 0);
  assert.ok(found.stdout.includes('garden'));
  assert.equal(slmd(['config', 'check'], { SLMD_CONFIG: join(dir, 'nowhere.yaml') }).status, 3);
});

test('a password never appears, in --show or anywhere else', (context) => {
  const dir = temporaryDir(context, {
    'slmd.yaml': 'mqtt: { password: s3cr3t-inline }',
    'broken.yaml': 'mqtt:\n  password: s3cr3t-inline\n  password: s3cr3t-inline\n',
    'alias.yaml': 'mqtt:\n  password: *s3cr3t-inline\n',
    password: 's3cr3t-file\n',
  });
  const show = (file: string, env = {}) =>
    slmd(['config', 'check', '--show', '--config', join(dir, file)], env);
  const runs = [
    show('slmd.yaml'),
    show('broken.yaml'),
    show('alias.yaml'),
    show('slmd.yaml', { SLMD_MQTT_PASSWORD: 's3cr3t-variable', SLMD_ENGINE_THREADS: 'x' }),
    slmd(['config', 'check', '--show'], { SLMD_MQTT_PASSWORD_FILE: join(dir, 'password') }),
    slmd(['config', 'check', '--show'], { SLMD_MQTT_URL: 'mqtt://user:s3cr3t-url@h' }),
  ];
  assert.deepEqual(
    runs.map(({ status }) => status),
    [0, 3, 3, 3, 0, 3],
  );
  for (const { stdout, stderr } of runs) assert.ok(!`${stdout}${stderr}`.includes('s3cr3t'), stdout + stderr);
});

test('--show is YAML that config check accepts again', (context) => {
  const { stdout } = slmd(['config', 'check', '--show'], { SLMD_DEVICE: 'kitchen' });
  assert.equal(parse(stdout).device, 'kitchen');
  const dir = temporaryDir(context, { 'slmd.yaml': stdout });
  assert.equal(slmd(['config', 'check', '--config', join(dir, 'slmd.yaml')]).status, 0);
});

test('--help lists the commands, and each command explains itself on stdout', () => {
  const { status, stdout } = slmd(['--help']);
  assert.equal(status, 0);
  const commands = [...stdout.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map(([, name]) => name ?? '');
  for (const name of ['run', 'ask', 'demo', 'config', 'model']) assert.ok(commands.includes(name), name);
  for (const name of commands) {
    const help = slmd([name, '--help']);
    assert.deepEqual([help.status, help.stderr], [0, ''], name);
    assert.ok(help.stdout.startsWith(`slmd ${name}`), name);
  }
});

test('--version is the version and nothing else', () => {
  const { status, stdout } = slmd(['--version']);
  assert.equal(status, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\S*\n$/);
});

test('a command line that is wrong names what is, and the help of the command that it is of', () => {
  for (const [args, ...names] of [
    [['doctor', '--nonsense'], '--nonsense', 'slmd doctor --help'],
    [['model', 'list', 'extra'], 'extra', 'slmd model list --help'],
    [['model', 'nonsense'], 'nonsense', 'slmd model <command>'],
    [['model', 'build', 'x', '--out', 'y', '--block-size', 'many'], '--block-size', 'many'],
    [['model', 'verify', 'x', '--threads', 'many'], '--threads', 'many'],
    [['model', 'eval', 'x', '--data', 'y', '--min', ''], '--min'],
  ] as const) {
    const { status, stdout, stderr } = slmd([...args]);
    assert.deepEqual([status, stdout], [2, ''], stderr);
    for (const name of names) assert.ok(stderr.includes(name), stderr);
  }
});

test('a file that cannot be used is named with what is wrong with it, and no more of the system than that', (context) => {
  const nowhere = join(temporaryDir(context), 'nowhere', 'k');
  const { status, stderr } = slmd(['model', 'keygen', nowhere]);
  assert.equal(status, 1);
  assert.match(stderr, /^slmd: \S+nowhere\/k\.private\.pem: [^\n]+\n$/);
});

test('a command line that is wrong exits 2 with nothing on stdout', () => {
  const wrong = [
    [],
    ['nonsense'],
    ['toString'],
    ['config'],
    ['config', 'check', 'more'],
    ['ask'],
    ['run', '--x'],
  ];
  for (const args of wrong) {
    const { status, stdout, stderr } = slmd(args);
    assert.deepEqual([status, stdout], [2, ''], args.join(' '));
    assert.ok(stderr !== '' && !stderr.includes('    at '), args.join(' '));
  }
});
