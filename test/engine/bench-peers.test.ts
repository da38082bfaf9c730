import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeHubModel } from '../../scripts/bench/models/hub-model.ts';
import type { Peer } from '../../scripts/bench/peers/peer.ts';
import { peerKinds } from '../../scripts/bench/peers/peers.ts';
import { measureProfile, profileTable } from '../../scripts/bench/profile.ts';
import { loadRuntime } from '../../src/onnx/grown-node.ts';
import { temporaryDir } from '../support/temporary.ts';
import { writeTinyCheckpoint } from '../support/tiny-checkpoint.ts';
import { tinyModelDir } from '../support/tiny-model.ts';

const prompt = [5, 17, 3, 99, 42, 7];

test('onnxruntime-node used plainly continues a prompt as slmd does, whichever past it has', async () => {
  const model = await tinyModelDir();
  const paths = { slmd: { 'block 32': model }, hub: '', gguf: '' };
  const answers: Record<string, number[]> = {};
  for (const name of ['slmd', 'onnxruntime-node growing', 'onnxruntime-node shared']) {
    const { open, modelOf } = peerKinds[name]!;
    const options = { packages: '', threads: 1, clock: 'wall', contextLength: 64 } as const;
    const peer: Peer = await open({ ...options, model: modelOf(paths as Parameters<typeof modelOf>[0]) });
    answers[name] = (await peer.answer(prompt, 6, false)).ids;
    await peer.close();
  }
  const { slmd, ...others } = answers;
  assert.equal(slmd!.length, 6);
  for (const ids of Object.values(others)) assert.deepEqual(ids, slmd);
});

test('what transformers.js is given has the hub’s inputs and computes the logits that are asked for', async (t) => {
  const [checkpoint, dir] = [temporaryDir(t), temporaryDir(t)];
  writeTinyCheckpoint(checkpoint);
  await writeHubModel(checkpoint, dir);
  const runtime = loadRuntime();
  const session = await runtime.InferenceSession.create(join(dir, 'onnx', 'model_q4.onnx'));
  const own = session.inputNames.filter((name) => !name.startsWith('past_key_values.'));
  assert.deepEqual(own.sort(), ['attention_mask', 'input_ids']);
  const ones = new BigInt64Array(prompt.length).fill(1n);
  const feeds: Record<string, InstanceType<typeof runtime.Tensor>> = {
    input_ids: new runtime.Tensor('int64', BigInt64Array.from(prompt, BigInt), [1, prompt.length]),
    attention_mask: new runtime.Tensor('int64', ones, [1, prompt.length]),
  };
  for (const input of session.inputMetadata) {
    if (!input.isTensor || own.includes(input.name)) continue;
    const [, heads, , headSize] = input.shape as number[];
    feeds[input.name] = new runtime.Tensor('float32', new Float32Array(), [1, heads!, 0, headSize!]);
  }
  const { logits } = await session.run(feeds);
  assert.deepEqual(logits!.dims.slice(0, 2), [1, 1]);
  await session.release();
});

test('a profile has every operator of a run in each of its phases, and what is between them', async () => {
  // Prompts of the bench have ids up to those of SmolLM2, and 2,048 of them.
  const model = await tinyModelDir({ checkpoint: { vocabularySize: 49_152, contextLength: 2304 } });
  const profile = await measureProfile('tiny', 'block 32', model, 1);
  assert.equal(profile.phases.length, 5);
  for (const { ms } of profile.phases) {
    for (const kind of ['matrix: head', 'matrix: mlp.up', 'GroupQueryAttention', 'between operators'])
      assert.ok(ms.get(kind)! > 0, kind);
  }
  const [prompt, , token] = profile.phases;
  assert.ok(prompt!.ms.get('matrix: mlp.up')! > 2 * token!.ms.get('matrix: mlp.up')!);
  assert.match(profileTable(profile), /together +[\d.]+/);
});
