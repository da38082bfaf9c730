import assert from 'node:assert/strict';
import { isAscii } from 'node:buffer';
import { globSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildAll } from '../../scripts/build.ts';
import { ForkedEngine, request } from '../support/forked-engine.ts';
import { temporaryDir } from '../support/temporary.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const modules = join(import.meta.dirname, '../../node_modules');

test('the bundled engine answers by a schema with nothing in node_modules but native code', async (t) => {
  const root = temporaryDir(t);
  await buildAll(join(root, 'dist'));
  // One letter beyond it, and a file takes two bytes for each in the memory of every process.
  for (const file of globSync('dist/*.js', { cwd: root }))
    assert.ok(isAscii(readFileSync(join(root, file))), file);
  mkdirSync(join(root, 'node_modules'));
  for (const name of ['onnxruntime-node', 'onnxruntime-common', 'koffi', '@koromix'])
    symlinkSync(join(modules, name), join(root, 'node_modules', name));
  const engine = new ForkedEngine({}, process.env, join(root, 'dist', 'engine.js'));
  t.after(() => engine.stop());
  assert.equal((await engine.load(await tinyModelDir())).type, 'ready');
  const response_format = { type: 'json_schema' as const, schema: { enum: ['on', 'off'] } };
  const done = await engine.run(request('Hello', { response_format }));
  assert.ok(done.format_complete, engine.output);
  assert.ok(['"on"', '"off"'].includes(done.text));
});
