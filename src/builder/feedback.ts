import { type InputMoments, momentColumns, momentGroups } from './input-moments.ts';

/**
 * How the error that rounding leaves in a column is made good by the columns after it, where their inputs
 * go together: [groups, columns, columns] as `InputMoments`. Row j of a group has, for each later column of the
 * group, by which share of the error in column j its weights are to be changed.
 */
export type Feedback = Float32Array;

/**
 * A part of the mean square input, taken as noise of every column of its own: without it columns would be
 * changed at will where the texts that were read say little of them. Between 0.05 and 0.2 it hardly matters.
 */
const noise = 0.1;

/**
 * By the method of GPTQ (Frantar and others, 2022) within groups of columns: the upper triangular root U of
 * the moments' inverse UᵀU, each row divided by its diagonal.
 */
export function feedbackOf(moments: InputMoments, columns: number): Feedback {
  const size = momentColumns;
  const own = noise * meanSquare(moments, columns) || 1;
  const feedback = new Float32Array(moments.length);
  for (let at = 0; at < moments.length; at += size * size) {
    const group = Float64Array.from(moments.subarray(at, at + size * size));
    for (let i = 0; i < size; i++) group[i * (size + 1)]! += own;
    const inverse = inverseOfUpper(upperRoot(group, size), size);
    for (let row = 0; row < size; row++) {
      const diagonal = inverse[row * (size + 1)]!;
      for (let column = row + 1; column < size; column++) {
        feedback[at + row * size + column] = inverse[row * size + column]! / diagonal;
      }
    }
  }
  return feedback;
}

/** The sum over all groups' diagonals, for each column. */
function meanSquare(moments: InputMoments, columns: number): number {
  let sum = 0;
  for (let column = 0; column < momentGroups(columns) * momentColumns; column++) {
    sum += moments[column * momentColumns + (column % momentColumns)]!;
  }
  return sum / columns;
}

/** M, upper triangular, of a symmetric positive definite A = M·Mᵀ: then A⁻¹ = UᵀU with U = M⁻¹. */
function upperRoot(matrix: Float64Array, size: number): Float64Array {
  const root = new Float64Array(size * size);
  for (let column = size - 1; column >= 0; column--) {
    for (let row = column; row >= 0; row--) {
      let rest = matrix[row * size + column]!;
      for (let k = column + 1; k < size; k++) rest -= root[row * size + k]! * root[column * size + k]!;
      root[row * size + column] = row === column ? Math.sqrt(rest) : rest / root[column * (size + 1)]!;
    }
  }
  return root;
}

function inverseOfUpper(matrix: Float64Array, size: number): Float64Array {
  const inverse = new Float64Array(size * size);
  for (let column = 0; column < size; column++) {
    inverse[column * (size + 1)] = 1 / matrix[column * (size + 1)]!;
    for (let row = column - 1; row >= 0; row--) {
      let sum = 0;
      for (let k = row + 1; k <= column; k++) sum += matrix[row * size + k]! * inverse[k * size + column]!;
      inverse[row * size + column] = -sum / matrix[row * (size + 1)]!;
    }
  }
  return inverse;
}
