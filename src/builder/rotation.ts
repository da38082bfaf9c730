import { elementTypes, type GraphBuilder } from '../onnx/graph.ts';
import type { Blocks } from './linear.ts';
import { rotaryTables } from './rope.ts';

/** What layers rotate with: the names of tables [positions, rotated elements / 2]. */
export interface Rotation {
  cos: string;
  sin: string;
  /** Elements of each head that are rotated. */
  dimensions: number;
  /** The tokens' positions [B, S], where the layer rotates outside of the attention; else null. */
  positions: string | null;
}

/** Stores the tables of every rotation there is, in the order of `Architecture.ropes`. */
export async function rotations(
  { graph, weights, architecture, options }: Blocks,
  ids: string,
): Promise<Rotation[]> {
  const { ropes } = architecture;
  // GroupQueryAttention rotates multiples of 16; fewer are those of toys.
  const inside = ropes.every(({ dimensions }) => dimensions % 16 === 0);
  const positions = inside ? null : positionsOf(graph, ids);
  const stored: Rotation[] = [];
  for (const [i, rope] of ropes.entries()) {
    const name = ropes.length === 1 ? 'rotary' : `rotary.${i}`;
    const { cos, sin } = rotaryTables(rope, options.contextLength);
    const dims = [options.contextLength, rope.dimensions / 2];
    stored.push({
      cos: graph.external(`${name}.cos`, 'float32', dims, await weights.table(cos)),
      sin: graph.external(`${name}.sin`, 'float32', dims, await weights.table(sin)),
      dimensions: rope.dimensions,
      positions,
    });
  }
  return stored;
}

/**
 * The position of every new token, as GroupQueryAttention counts them: max(T − S, 0) + s. A row of a
 * padded prompt has T < S.
 */
function positionsOf(graph: GraphBuilder, ids: string): string {
  const int64 = (name: string, value: bigint, dims: number[]) =>
    graph.constant(`positions.${name}`, 'int64', dims, BigInt64Array.of(value));
  const [zero, one, axis] = [int64('zero', 0n, []), int64('one', 1n, []), int64('axis', 1n, [1])];
  const shape = graph.node('Shape', [ids], 'positions.shape');
  const length = graph.node('Gather', [shape, one], 'positions.length');
  const steps = graph.node('Range', [zero, length, one], 'positions.steps');
  const last = graph.node('Cast', ['seqlens_k'], 'positions.last', {
    attributes: { to: elementTypes.int64 },
  });
  const total = graph.node('Add', [last, one], 'positions.total');
  const past = graph.node('Sub', [total, length], 'positions.past');
  const first = graph.node('Max', [past, zero], 'positions.first');
  const column = graph.node('Unsqueeze', [first, axis], 'positions.column');
  return graph.node('Add', [column, steps], 'positions');
}
