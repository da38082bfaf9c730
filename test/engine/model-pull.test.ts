import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Ran, startCommand } from '../support/command.ts';
import { FakeHub, status } from '../support/fake-hub.ts';
import { temporaryDir } from '../support/temporary.ts';
import { writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';
import { tinyModelDir } from '../support/tiny-model.ts';
import { writeTinyTokenizer } from '../support/tiny-tokenizer.ts';

const tiny = await tinyModelDir();

function filesOf(dir: string): Record<string, Buffer> {
  return Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name))]));
}

async function given(t: TestContext, files: Record<string, Buffer | string>) {
  const hub = await FakeHub.start(t, files);
  const store = join(temporaryDir(t), 'store');
  const start = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    startCommand(['model', ...args], { SLMD_MODEL_STORE: store, SLMD_MODEL_MIRROR: hub.url, ...env });
  const slmd = (...args: string[]): Promise<Ran> => start(args).ran;
  return { hub, store, start, slmd };
}

test('a checkpoint is pulled, and the command that the output names builds it', async (t) => {
  const checkpoint = temporaryDir(t);
  writeTinyCheckpoint(checkpoint);
  writeTinyTokenizer(checkpoint);
  const { store, slmd } = await given(t, filesOf(checkpoint));
  const { code, stdout, stderr } = await slmd('pull', 'owner/Model-1M');
  assert.equal(code, 0, stderr);
  assert.match(stderr, /pulling 100 %\n/);
  const next = /^next: slmd model (build .*)$/m.exec(stdout)?.[1] ?? '';
  assert.equal((await slmd(...next.split(' '))).code, 0, next);
  const built = await slmd('inspect', 'model-1m-int4');
  assert.match(built.stdout, /slmd model activate model-1m-int4\n$/);
  assert.ok(existsSync(join(store, 'model-1m-int4', 'slmd-model.json')));
});

test('a model of slmd is pulled by its manifest, runs as it is, and is verified', async (t) => {
  const { slmd } = await given(t, { ...filesOf(tiny), 'more.safetensors': 'x'.repeat(1000) });
  const pulled = JSON.parse(
    (await slmd('pull', 'owner/Model-1M', '--json', '--name', 'mine')).stdout,
  ) as object;
  assert.deepEqual(
    { ...pulled, dir: '', bytes: 0 },
    {
      name: 'mine',
      dir: '',
      layout: 'slmd',
      bytes: 0,
      unvouched: [],
      already: false,
    },
  );
  const { code, stdout } = await slmd('verify', 'mine');
  assert.equal(code, 0);
  assert.match(stdout, new RegExp(`${readdirSync(tiny).length - 1} files`));
});

test('a layout that does not run yet is pulled and inspected, and says so', async (t) => {
  const graph = { 'onnx/model_q4.onnx': 'g'.repeat(500), 'onnx/model.onnx': 'h'.repeat(900) };
  const { slmd } = await given(t, { 'config.json': '{"model_type":"qwen2"}', ...graph });
  assert.equal((await slmd('pull', 'owner/Model-1M')).code, 0);
  const { stdout } = await slmd('inspect', 'model-1m-q4', '--json');
  const { layout, model_type, runnable } = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual([layout, model_type, runnable], ['onnx', 'qwen2', false]);
});

test('without a variant that of the board’s profile is pulled, and a build is named that makes it', async (t) => {
  const graphs = Object.fromEntries(
    ['_q4', '_int8', ''].map((name) => [`onnx/model${name}.onnx`, `graph${name}`]),
  );
  const { start } = await given(t, { 'config.json': '{}', ...graphs });
  const pulled = async (variant: string, more: string[] = []) =>
    JSON.parse(
      (await start(['pull', 'owner/Model-1M', '--json', ...more], { SLMD_MODEL_VARIANT: variant }).ran)
        .stdout,
    ).name;
  assert.deepEqual(
    [await pulled('int4'), await pulled('int8'), await pulled('float32')],
    ['model-1m-q4', 'model-1m-int8', 'model-1m-fp32'],
  );
  assert.equal(await pulled('int8', ['--variant', 'q4']), 'model-1m-q4');
  const dir = temporaryDir(t, { 'config.json': '{}', 'model.safetensors': '' });
  const { stdout } = await start(['inspect', dir], { SLMD_MODEL_VARIANT: 'int8' }).ran;
  assert.match(stdout, /^next +slmd model build .*-int8$/m);
});

test('a failure is one line with its code, and exit code 1, or 5 where a server was too slow', async (t) => {
  const { hub, slmd } = await given(t, {});
  hub.api.set('/revision/', status(403));
  const gated = await slmd('pull', 'owner/Model-1M');
  assert.deepEqual([gated.code, gated.stdout], [1, '']);
  assert.match(gated.stderr, /^slmd: access_denied: .*HF_TOKEN.*\n$/m);
  assert.match((await slmd('pull', 'owner/other')).stderr, /slmd: repo_not_found: /);
  for (const wrong of [
    ['pull'],
    ['pull', 'a/b', 'c'],
    ['pull', 'a/b', '--layout', 'x'],
    ['pull', 'a/b', '--mirror', 'x'],
  ])
    assert.equal((await slmd(...wrong)).code, 2, wrong.join(' '));
  const { code, stderr } = await slmd('pull', 'nonsense');
  assert.deepEqual([code, stderr.startsWith('slmd: repo_invalid: ')], [1, true]);
});

test('Ctrl-C ends a pull with 130, and the token is in no output', async (t) => {
  const { hub, store, start } = await given(t, { 'model.safetensors': 'x'.repeat(1000) });
  const asked = Promise.withResolvers<void>();
  hub.mischief.set('model.safetensors', [() => asked.resolve()]);
  const { child, ran } = start(['pull', 'owner/Model-1M'], { HF_TOKEN: 'hf_s3cr3t' });
  await Promise.race([asked.promise, ran]);
  child.kill('SIGINT');
  const { code, stdout, stderr } = await ran;
  assert.equal(code, 130, stderr);
  assert.ok(!`${stdout}${stderr}`.includes('hf_s3cr3t'));
  assert.equal(hub.heard[0]?.headers.authorization, 'Bearer hf_s3cr3t');
  writeFileSync(join(store, 'untouched'), '');
  assert.deepEqual(readdirSync(store).toSorted(), ['.pull-model-1m', 'untouched']);
});
