import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GraphBuilder } from '../../src/onnx/graph.ts';
import { float32, loadGraph } from '../support/onnx-runner.ts';

test('a graph with every kind of attribute and constant runs as it was built', async () => {
  const graph = new GraphBuilder('attributes');
  graph.input('x', 'float32', [2, 'n']);
  const leaky = graph.node('LeakyRelu', ['x'], 'leaky', { attributes: { alpha: { float: 0.25 } } });
  const turned = graph.node('Transpose', [leaky], 'turned', { attributes: { perm: [1, 0] } });
  const cells = graph.constant('cells', 'int64', [2], BigInt64Array.of(1n, 0n));
  const picked = graph.node('Gather', [turned, cells], 'picked', { attributes: { axis: 1 } });
  const step = graph.constant('step', 'float32', [], Float32Array.of(100));
  graph.node('Einsum', [picked, step], 'y', { attributes: { equation: 'ij,->ij' } });
  graph.output('y', 'float32', ['n', 2]);
  const session = await loadGraph(graph.encode());
  const { y } = await session.run({ x: float32([1, -2, 3, -4, 5, -6], [2, 3]) });
  assert.deepEqual(y!.dims, [3, 2]);
  assert.deepEqual([...(y!.data as Float32Array)], [-100, 100, 500, -50, -150, 300]);
  await session.release();
});
