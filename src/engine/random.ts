/**
 * A seeded source of uniform numbers: xoshiro128** (Blackman and Vigna, prng.di.unimi.it), its state
 * filled from the seed by SplitMix32, so that neighbouring seeds give unrelated sequences.
 *
 * @param seed any safe integer; all of its bits take part
 * @returns a function that gives the next number in [0, 1), with 53 random bits
 */
export function seededRandom(seed: number): () => number {
  const state = initialState(seed);
  return () => {
    const high = nextUint32(state) >>> 5;
    const low = nextUint32(state) >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  };
}

function initialState(seed: number): Uint32Array {
  // Both halves of the 53-bit seed take part: the low one starts the mix, the high one shifts its output.
  const low = seed >>> 0;
  const high = Math.floor(seed / 2 ** 32) >>> 0;
  const state = new Uint32Array(4);
  let mix = low;
  for (let i = 0; i < state.length; i++) {
    mix = (mix + 0x9e3779b9) >>> 0;
    let z = mix ^ Math.imul(high, i + 1);
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    state[i] = z ^ (z >>> 15);
  }
  // The all-zero state is the one that xoshiro never leaves.
  if (state.every((word) => word === 0)) state[0] = 1;
  return state;
}

function nextUint32(state: Uint32Array): number {
  const [a, b, c, d] = state as unknown as [number, number, number, number];
  const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
  const c1 = c ^ a;
  const d1 = d ^ b;
  state[0] = a ^ d1;
  state[1] = b ^ c1;
  state[2] = c1 ^ (b << 9);
  state[3] = rotateLeft(d1, 11);
  return result;
}

function rotateLeft(x: number, bits: number): number {
  return (x << bits) | (x >>> (32 - bits));
}
