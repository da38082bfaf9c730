import assert from 'node:assert/strict';
import { test } from 'node:test';
import { attentionPath } from '../../src/onnx/attention-path.ts';

test('scores are made at once where a run and its context leave room for them, and in tiles beyond', () => {
  assert.equal(attentionPath(4096), 'scores');
  assert.equal(attentionPath(8192, 128), 'scores');
  assert.equal(attentionPath(8193, 128), 'tiles');
  assert.equal(attentionPath(4096, 4096), 'tiles');
});
