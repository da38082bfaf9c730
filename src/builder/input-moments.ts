import { type GraphBuilder, microsoft } from '../onnx/graph.ts';

/**
 * Columns whose inputs are looked at together: as many as the largest block has. What columns further apart
 * have in common would win a little more, for memory and time that grow with it.
 */
export const momentColumns = 128;

/**
 * What inputs of a matrix have in common, [groups, columns, columns]: sums of x·xᵀ over tokens for each group
 * of `momentColumns` columns. The last group is filled up with zeros.
 */
export type InputMoments = Float32Array;

export function momentGroups(columns: number): number {
  return Math.ceil(columns / momentColumns);
}

/** Adds the moments of a value [1, tokens, columns] to a graph's outputs. @returns the output's name */
export function outputMoments(graph: GraphBuilder, input: string, columns: number): string {
  const name = `${input}.moments`;
  const groups = momentGroups(columns);
  const int64 = (what: string, values: number[]) =>
    graph.constant(`${name}.${what}`, 'int64', [values.length], BigInt64Array.from(values, BigInt));
  const missing = groups * momentColumns - columns;
  const filled =
    missing === 0
      ? input
      : graph.node('Pad', [input, int64('missing', [0, 0, 0, 0, 0, missing])], `${name}.filled`);
  const shape = int64('shape', [-1, groups, momentColumns]);
  const split = graph.node('Reshape', [filled, shape], `${name}.split`);
  const byGroup = graph.node('Transpose', [split], `${name}.groups`, { attributes: { perm: [1, 0, 2] } });
  graph.node('FusedMatMul', [byGroup, byGroup], name, { domain: microsoft, attributes: { transA: 1 } });
  return graph.output(name, 'float32', [groups, momentColumns, momentColumns]);
}
