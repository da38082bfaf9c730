import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { attentionPath } from '../../src/onnx/attention-path.ts';
import type { ElementType } from '../../src/onnx/graph.ts';
import type { GraphFile } from '../../src/onnx/graph-file.ts';

const wide = boardWith('flags : fpu sse2 avx avx2');
const narrow = boardWith('flags : fpu sse2 avx');
const arm = boardWith('Features : fp asimd asimddp');

test('scores are made at once where a run and its context leave room for them, and in tiles beyond', () => {
  const path = (contextLength: number, runTokens?: number) =>
    attentionPath(graph(), runTokens === undefined ? { contextLength } : { contextLength, runTokens }, wide);
  assert.equal(path(4096), 'scores');
  assert.equal(path(8192, 128), 'scores');
  assert.equal(path(8193, 128), 'tiles');
  assert.equal(path(4096, 4096), 'tiles');
});

test('on a board of little memory the scores of all heads are to leave room for the model', () => {
  const file = graph({ scale: 1, num_heads: 9 });
  const path = (memory: number) => attentionPath(file, { contextLength: 4096, memory }, wide);
  assert.equal(path(512e6), 'scores');
  assert.equal(path(256e6), 'tiles');
});

test('a processor whose matrix kernels are no wider than other loops goes through tiles', () => {
  assert.equal(attentionPath(graph(), { contextLength: 256 }, narrow), 'tiles');
  assert.equal(attentionPath(graph(), { contextLength: 256 }, arm), 'tiles');
});

test('keys that would be copied first are read in tiles, in whichever layer they are', () => {
  const path = (file: GraphFile) => attentionPath(file, { contextLength: 256 }, wide);
  const [first] = graph().nodes;
  assert.equal(path(graph({ scale: 0.125 })), 'tiles');
  assert.equal(path(graph({})), 'tiles');
  assert.equal(path(graph({ scale: 0.125 }, 'int8')), 'scores', 'int8 is never copied');
  assert.equal(path(graph({ scale: 1 }, 'float16')), 'tiles');
  assert.equal(path({ ...graph(), nodes: [first!, { ...first!, attributes: new Map() }] }), 'tiles');
  assert.equal(path({ ...graph(), nodes: [] }), 'tiles');
});

function graph(attributes: Record<string, number> = { scale: 1 }, type: ElementType = 'float32'): GraphFile {
  const node = {
    operator: 'GroupQueryAttention',
    inputs: ['qkv', '', '', 'past.key', 'past.value'],
    outputs: ['heads'],
    attributes: new Map(Object.entries(attributes)),
  };
  const past = ['past.key', 'past.value'].map((name) => ({ name, type, shape: [] }));
  return { inputs: past, outputs: [], nodes: [node], weights: [] };
}

/** A root directory whose processor has these features. */
function boardWith(features: string): string {
  const root = mkdtempSync(join(tmpdir(), 'slmd-board-'));
  after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'proc'));
  writeFileSync(join(root, 'proc', 'cpuinfo'), `processor : 0\n${features}\n`);
  return root;
}
