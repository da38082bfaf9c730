/**
 * `accuracy_level` of MatMulNBits, in a graph as it lies on disk: 4 rounds activations to int8, 0 keeps
 * them in float32. It is part of the graph, and which is faster is the board's.
 */

import { bytesOf } from '../lib/bytes-of.ts';

/** An `AttributeProto` up to its value: name (field 1), then the tag of its integer (field 3). */
const beginning = Buffer.from('\x0a\x0eaccuracy_level\x18', 'latin1');

/** How many nodes of a graph have this level. */
export function countAccuracyLevel(graph: Uint8Array, level: number): number {
  return places(graph, level).length;
}

/** The same graph with one level in place of another. */
export function replaceAccuracyLevel(graph: Uint8Array, from: number, to: number): Uint8Array {
  const replaced = Uint8Array.from(graph);
  for (const place of places(graph, from)) replaced[place] = to;
  return replaced;
}

/** Levels are below 128, so each is one byte of the file. */
function places(graph: Uint8Array, level: number): number[] {
  const bytes = bytesOf(graph);
  const found: number[] = [];
  for (let at = bytes.indexOf(beginning); at !== -1; at = bytes.indexOf(beginning, at + 1)) {
    const place = at + beginning.length;
    if (bytes[place] === level) found.push(place);
  }
  return found;
}
