import { type GraphBuilder, microsoft } from '../onnx/graph.ts';
import { blocksPerRow, rowBytes } from './quantize.ts';
import type { StoredMatrix } from './weights.ts';

/**
 * x [..., columns] → x·Wᵀ + bias [..., rows].
 *
 * Float32 uses FusedMatMul, which multiplies by the transpose of the matrix as it lies in the file: no
 * transposed copy is ever made, and the embedding can share the bytes.
 *
 * @param accuracyLevel of MatMulNBits: 4 rounds activations to int8, 0 keeps them in float32
 */
export function project(
  graph: GraphBuilder,
  input: string,
  matrix: StoredMatrix,
  output: string,
  accuracyLevel: number,
  bias?: Float32Array,
): string {
  const { name, rows, columns } = matrix;
  const biasName = bias === undefined ? '' : graph.constant(`${name}.bias`, 'float32', [rows], bias);
  if (matrix.format === 'float32') {
    const weight = graph.external(name, 'float32', [rows, columns], matrix.data);
    const product = biasName === '' ? output : `${output}.product`;
    graph.node('FusedMatMul', [input, weight], product, { domain: microsoft, attributes: { transB: 1 } });
    return biasName === '' ? output : graph.node('Add', [product, biasName], output);
  }
  const { bits, blockSize } = matrix.format;
  const blocks = blocksPerRow(columns, matrix.format);
  const weight = graph.external(
    `${name}.blocks`,
    'uint8',
    [rows, blocks, (blockSize * bits) / 8],
    matrix.data,
  );
  const scales = graph.external(`${name}.scales`, 'float32', [rows, blocks], matrix.scales);
  const inputs = [input, weight, scales];
  if (biasName !== '') inputs.push('', '', biasName);
  const attributes = { K: columns, N: rows, bits, block_size: blockSize, accuracy_level: accuracyLevel };
  return graph.node('MatMulNBits', inputs, output, { domain: microsoft, attributes });
}

/**
 * Token ids [B, S] → their rows [B, S, columns].
 *
 * GatherBlockQuantized takes the same bytes as MatMulNBits under other dimensions, so the head
 * can name the same range of the file under its own initializer. It also returns the columns that fill up the last
 * block, which are cut off.
 */
export function gatherRows(graph: GraphBuilder, ids: string, matrix: StoredMatrix, output: string): string {
  const { name, rows, columns } = matrix;
  if (matrix.format === 'float32') {
    return graph.node(
      'Gather',
      [graph.external(`${name}.rows`, 'float32', [rows, columns], matrix.data), ids],
      output,
    );
  }
  const { bits, blockSize } = matrix.format;
  const weight = graph.external(
    `${name}.rows`,
    'uint8',
    [rows, rowBytes(columns, matrix.format)],
    matrix.data,
  );
  const blocks = blocksPerRow(columns, matrix.format);
  const scales = graph.external(`${name}.rows.scales`, 'float32', [rows, blocks], matrix.scales);
  const whole = columns % blockSize === 0;
  const gathered = graph.node(
    'GatherBlockQuantized',
    [weight, ids, scales],
    whole ? output : `${output}.filled`,
    { domain: microsoft, attributes: { gather_axis: 0, quantize_axis: 1, block_size: blockSize, bits } },
  );
  if (whole) return output;
  return slice(graph, gathered, { begin: 0, end: columns, axis: 2 }, output);
}

/** The elements from `begin` (negative: counted from the end; a name: as the graph computes it) to before `end` along one axis. */
export function slice(
  graph: GraphBuilder,
  input: string,
  range: { begin: number | string; end: number; axis: number },
  output: string,
): string {
  const bounds = (['begin', 'end', 'axis'] as const).map((part) => {
    const bound = range[part];
    if (typeof bound === 'string') return bound;
    return graph.constant(`${output}.${part}`, 'int64', [1], BigInt64Array.of(BigInt(bound)));
  });
  return graph.node('Slice', [input, ...bounds], output);
}
