/**
 * The ids of the `count` largest values, largest first; of equal values the lower id comes first.
 *
 * One pass over the values with a heap of `count` ids: a vocabulary of 150 000 is never sorted.
 */
export function topIds(values: ArrayLike<number>, count: number): Uint32Array {
  const size = Math.min(count, values.length);
  const heap = new Uint32Array(size);
  if (size === 0) return heap;
  for (let id = 0; id < size; id++) heap[id] = id;
  for (let i = (size >> 1) - 1; i >= 0; i--) siftDown(heap, size, i, values);
  // Ids come in rising order, so an equal value never displaces the one that is already there.
  for (let id = size; id < values.length; id++) {
    if (values[id]! > values[heap[0]!]!) {
      heap[0] = id;
      siftDown(heap, size, 0, values);
    }
  }
  for (let last = size - 1; last > 0; last--) {
    const worst = heap[0]!;
    heap[0] = heap[last]!;
    heap[last] = worst;
    siftDown(heap, last, 0, values);
  }
  return heap;
}

/** Keeps the worst id at the root: the one with the smallest value, of equal values the highest id. */
function siftDown(heap: Uint32Array, size: number, start: number, values: ArrayLike<number>): void {
  let parent = start;
  for (;;) {
    let worst = parent;
    const left = 2 * parent + 1;
    if (left < size && isWorse(heap[left]!, heap[worst]!, values)) worst = left;
    if (left + 1 < size && isWorse(heap[left + 1]!, heap[worst]!, values)) worst = left + 1;
    if (worst === parent) return;
    const id = heap[parent]!;
    heap[parent] = heap[worst]!;
    heap[worst] = id;
    parent = worst;
  }
}

function isWorse(a: number, b: number, values: ArrayLike<number>): boolean {
  const difference = values[a]! - values[b]!;
  return difference < 0 || (difference === 0 && a > b);
}
