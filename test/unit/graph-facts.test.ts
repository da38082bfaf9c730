import assert from 'node:assert/strict';
import { test } from 'node:test';
import { graphFacts } from '../../src/model/graph-facts.ts';
import { quantizationName } from '../../src/model/manifest.ts';
import type { GraphFile, GraphNode, GraphWeight } from '../../src/onnx/graph-file.ts';

function node(operator: string, inputs: string[], attributes: Record<string, number> = {}): GraphNode {
  return { operator, inputs, outputs: [], attributes: new Map(Object.entries(attributes)) };
}

function weight(name: string, type: GraphWeight['type'], elements: number): GraphWeight {
  return { name, type, elements, location: null };
}

/** What is said of a graph of one operator with a matrix of 64 by 128, and a norm of 64. */
function said(operator: GraphNode, weights: GraphWeight[]): string {
  const type = weights[0]!.type === 'float16' ? 'float16' : 'float32';
  const graph: GraphFile = {
    inputs: [],
    outputs: [],
    nodes: [operator],
    weights: [...weights, weight('n', type, 64)],
  };
  const { quantization, parameters } = graphFacts(graph);
  return `${quantizationName(quantization)}, ${parameters}`;
}

test('a graph is named by the operators that multiply its weights, and its weights are counted by their bits', () => {
  const blocks = [weight('w', 'uint8', 4096), weight('s', 'float32', 256), weight('z', 'uint8', 128)];
  const sizes = { K: 128, N: 64, bits: 4, block_size: 32 };
  assert.equal(said(node('MatMulNBits', ['x', 'w', 's', 'z'], sizes), blocks), 'int4 b32, 8256');
  const bytes = [weight('w', 'uint8', 8192), ...blocks.slice(1)];
  assert.equal(
    said(node('MatMulNBits', ['x', 'w', 's', 'z'], { ...sizes, bits: 8 }), bytes),
    'int8 b32, 8256',
  );
  assert.equal(said(node('MatMulBnb4', ['x', 'w', 's'], sizes), blocks.slice(0, 2)), 'int4 b32, 8256');
  assert.equal(said(node('MatMulInteger', ['x', 'w']), [weight('w', 'int8', 8192)]), 'int8, 8256');
  assert.equal(said(node('MatMul', ['x', 'w']), [weight('w', 'float16', 8192)]), 'float16, 8256');
  assert.equal(said(node('MatMul', ['x', 'w']), [weight('w', 'float32', 8192)]), 'float32, 8256');
  const rows = node('GatherBlockQuantized', ['w', 'x', 's'], { bits: 4 });
  assert.equal(said(rows, [weight('w', 'uint8', 4096), weight('s', 'float32', 256)]), 'float32, 8256');
});

test('most layers say the bits, the last product those of the head', () => {
  const sizes = { K: 128, N: 64, block_size: 64 };
  const nodes = [4, 4, 8].map((bits) => node('MatMulNBits', ['x', 'w', 's'], { ...sizes, bits }));
  const { quantization } = graphFacts({ inputs: [], outputs: [], nodes, weights: [] });
  assert.deepEqual(quantization, { bits: 4, head_bits: 8, block_size: 64, accuracy_level: 0 });
});
