import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Manifest } from '../../src/model/manifest.ts';
import { sourceFile } from '../../src/supply/source.ts';
import { type Ran, startCommand } from '../support/command.ts';
import { temporaryDir } from '../support/temporary.ts';
import { writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';
import { tinyModelDir } from '../support/tiny-model.ts';
import { writeTinyTokenizer } from '../support/tiny-tokenizer.ts';

const tiny = await tinyModelDir();

/** `slmd model …` with a store of its own, in which there is a tiny model. */
function given(t: TestContext): { dir: string; model: string; slmd(...args: string[]): Promise<Ran> } {
  const dir = temporaryDir(t);
  const model = join(dir, 'store', 'tiny');
  cpSync(tiny, model, { recursive: true });
  const slmd = (...args: string[]) =>
    startCommand(['model', ...args], { SLMD_MODEL_STORE: join(dir, 'store') }).ran;
  return { dir, model, slmd };
}

function assertCoded({ code, stdout, stderr }: Ran, expected: string): void {
  assert.deepEqual([code, stdout], [1, '']);
  const lines = stderr.split('\n').filter((line) => line.startsWith('slmd: '));
  assert.deepEqual([lines.length, lines[0]?.startsWith(`slmd: ${expected}: `)], [1, true], stderr);
  assert.ok(!stderr.includes('    at '), stderr);
}

test('keys are made once, a model is signed with them, and the signature is asked for by a key', async (t) => {
  const { dir, slmd } = given(t);
  assert.equal((await slmd('keygen', join(dir, 'mine'))).code, 0);
  assert.equal(statSync(join(dir, 'mine.private.pem')).mode & 0o777, 0o600);
  assertCoded(await slmd('keygen', join(dir, 'mine')), 'key_invalid');

  const verify = () => slmd('verify', 'tiny', '--json', '--key', join(dir, 'mine.public.pem'));
  assertCoded(await verify(), 'model_untrusted');
  assertCoded(await slmd('sign', 'tiny', '--key', join(dir, 'mine.public.pem')), 'key_invalid');
  assert.equal((await slmd('sign', 'tiny', '--key', join(dir, 'mine.private.pem'))).code, 0);
  const { code, stdout } = await verify();
  assert.equal(code, 0);
  const { by, signature } = JSON.parse(stdout) as { by: string; signature: string };
  assert.deepEqual([by, signature], ['manifest', 'signed']);
});

test('a model with a changed file is not verified, and not signed', async (t) => {
  const { dir, model, slmd } = given(t);
  await slmd('keygen', join(dir, 'mine'));
  appendFileSync(join(model, 'config.json'), ' ');
  assertCoded(await slmd('verify', 'tiny'), 'model_invalid');
  assertCoded(await slmd('sign', 'tiny', '--key', join(dir, 'mine.private.pem')), 'model_invalid');
  assert.ok(!existsSync(join(model, 'slmd-model.json.sig')));
});

test('what was pulled is compared with what came, by size and by hash', async (t) => {
  const empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
  const files = { 'onnx/model_q4.onnx': { sha256: empty, bytes: 0, vouched: true } };
  const source = { format: 1, mirror: 'http://h', repo: 'a/b', revision: 'main', commit: null, files };
  const { slmd } = given(t);
  const dir = temporaryDir(t, { 'onnx/model_q4.onnx': '', [sourceFile]: JSON.stringify(source) });
  assert.equal((await slmd('verify', dir)).code, 0);
  appendFileSync(join(dir, 'onnx/model_q4.onnx'), 'x');
  assertCoded(await slmd('verify', dir), 'size_mismatch');
  truncateSync(join(dir, 'onnx/model_q4.onnx'), 0);
  rmSync(join(dir, 'onnx'), { recursive: true });
  assertCoded(await slmd('verify', dir), 'size_mismatch');
});

test('list and inspect tell a program as JSON, and a person what to do next', async (t) => {
  const { model, slmd } = given(t);
  const listed = JSON.parse((await slmd('list', '--json')).stdout) as { active: unknown; models: object[] };
  assert.equal(listed.active, null);
  assert.deepEqual(
    listed.models.map((m) => ({ ...m, bytes: 0 })),
    [{ name: 'tiny', dir: model, bytes: 0, state: 'kept' }],
  );
  const inspected = JSON.parse((await slmd('inspect', 'tiny', '--json')).stdout) as Record<string, unknown>;
  assert.deepEqual(
    [inspected.layout, inspected.runnable, inspected.signature, inspected.architecture],
    ['slmd', true, 'unsigned', 'LlamaForCausalLM'],
  );
  assert.match((await slmd('inspect', 'tiny')).stdout, /slmd model activate tiny\n$/);
  assert.match((await slmd('list')).stdout, /^\* .*\n {2}tiny /);
});

test('a model is built as the board’s profile says where the command does not, and said to be too large for it', async (t) => {
  const dir = temporaryDir(t);
  const checkpoint = join(dir, 'checkpoint');
  writeTinyCheckpoint(checkpoint);
  writeTinyTokenizer(checkpoint);
  const board = { SLMD_MODEL_VARIANT: 'int8', SLMD_MODEL_KV_CACHE: 'int8', SLMD_MODEL_BYTES_MAX: '1' };
  for (const [name, options, bits, cache] of [
    ['as-said', ['--quantization', 'int4', '--kv-cache', 'float32'], 4, undefined],
    ['by-profile', [], 8, 'int8'],
  ] as const) {
    const out = join(dir, name);
    const { code, stderr } = await startCommand(
      ['model', 'build', checkpoint, '--out', out, ...options],
      board,
    ).ran;
    assert.deepEqual([code, stderr.includes('model.bytes_max')], [0, true], stderr);
    const { quantization } = JSON.parse(readFileSync(join(out, 'slmd-model.json'), 'utf8')) as Manifest;
    assert.deepEqual([quantization.bits, quantization.kv_cache], [bits, cache], name);
  }
});

test('a model that the store does not have is said with its code, and each command has a help of its own', async (t) => {
  const { dir, slmd } = given(t);
  for (const command of ['inspect', 'verify', 'remove'])
    assertCoded(await slmd(command, 'nonsense'), 'model_unknown');
  const questions = join(dir, 'questions.jsonl');
  writeFileSync(questions, '{"prompt":"Hello","expected":"no such answer"}');
  assertCoded(await slmd('eval', 'nonsense', '--data', questions), 'model_unknown');
  assert.equal((await slmd('eval', 'tiny', '--data', questions, '--max-tokens', '2')).code, 0);
  for (const command of ['inspect', 'verify'])
    assertCoded(await slmd(command, import.meta.filename), 'model_unknown');
  for (const command of ['list', 'inspect', 'verify', 'remove', 'keygen', 'sign', 'build', 'eval']) {
    const { code, stdout } = await slmd(command, '--help');
    assert.deepEqual([code, stdout.startsWith(`slmd model ${command}`)], [0, true], command);
  }
});
