/** Numbers in [0, 1) that depend on the seed alone: the same on every machine, so goldens stay valid. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  // mulberry32: 32-bit integer arithmetic only, hence exact everywhere.
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Float32 values, evenly distributed around 0 with this standard deviation. */
export function randomWeights(random: () => number, length: number, deviation: number): Float32Array {
  const width = 2 * Math.sqrt(3) * deviation;
  return Float32Array.from({ length }, () => (random() - 0.5) * width);
}
