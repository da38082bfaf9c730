import assert from 'node:assert/strict';
import { globSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { buildModel } from '../../src/builder/build-model.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { packageRoot, shippedModel } from '../../src/lib/package-root.ts';
import { manifestFile } from '../../src/model/manifest.ts';
import { answerInPieces, openShippedModel } from '../support/shipped-model.ts';
import { temporaryDir } from '../support/temporary.ts';

interface Golden {
  model: string;
  sha256: string;
  answers: { prompt: string; pieces: string[]; text: string }[];
}

const golden = JSON.parse(
  readFileSync(join(import.meta.dirname, '../golden/shipped-model.json'), 'utf8'),
) as Golden;

let engine: Engine;
before(async () => {
  engine = await openShippedModel();
});
after(() => engine.close());

test('the model that ships is the one whose answers are recorded', () => {
  assert.equal(engine.info.model.id, golden.model);
  assert.equal(engine.info.model.sha256, golden.sha256);
});

for (const { prompt, pieces, text } of golden.answers)
  test(`asked greedily, the shipped model answers token for token as recorded: ${prompt}`, async () => {
    assert.deepEqual(await answerInPieces(engine, prompt), { pieces, text });
  });

test('the model that ships is what the builder makes of the checkpoint that ships', async (t) => {
  const out = join(temporaryDir(t), 'model');
  const manifest = await buildModel(join(shippedModel(), '../checkpoint'), out, {
    id: golden.model,
  });
  // What was found of it afterwards is not of the builder's making.
  const { verification, ...shipped } = JSON.parse(readFileSync(join(shippedModel(), manifestFile), 'utf8'));
  assert.deepEqual(manifest, shipped);
  assert.equal(verification.verdict, 'good');
});

test('everything under models/ is at most 8 MB', () => {
  const models = join(packageRoot(), 'models');
  const files = globSync('**/*', { cwd: models, withFileTypes: true }).filter((entry) => entry.isFile());
  const bytes = files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
  assert.ok(bytes > 1_000_000 && bytes <= 8_000_000, `${bytes} bytes`);
});
