import { type ElementType, GraphBuilder } from '../../src/onnx/graph.ts';

/** A graph that gives its input back, of any shape. */
export function identity(type: ElementType, shape: (number | string)[] = ['a', 'b']): Uint8Array {
  const graph = new GraphBuilder('identity');
  graph.output(graph.node('Identity', [graph.input('in', type, shape)], 'out'), type, shape);
  return graph.encode();
}

/** Multiplies a square matrix by itself, over and over: as slow as it is asked to be. */
export function slowPower(times: number): Uint8Array {
  const graph = new GraphBuilder('power');
  const start = graph.input('in', 'float32', ['n', 'n']);
  let power = start;
  for (let i = 0; i < times; i++) power = graph.node('MatMul', [power, start], `power.${i}`);
  graph.output(graph.node('Identity', [power], 'out'), 'float32', ['n', 'n']);
  return graph.encode();
}
