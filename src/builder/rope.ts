/** How rotary position embeddings turn positions into angles. */
export interface Rope {
  theta: number;
  scaling: RopeScaling | null;
}

export type RopeScaling =
  | { type: 'linear'; factor: number }
  | {
      type: 'llama3';
      factor: number;
      lowFrequencyFactor: number;
      highFrequencyFactor: number;
      originalContextLength: number;
    };

/**
 * The cosines and sines that GroupQueryAttention rotates with, each [positions, head size / 2].
 *
 * Models are trained with angles in float32, whose rounding at far positions is part of what they
 * learned; so every step here rounds to float32 as well.
 */
export function rotaryTables(
  rope: Rope,
  headSize: number,
  positions: number,
): { cos: Float32Array; sin: Float32Array } {
  const frequencies = rotaryFrequencies(rope, headSize);
  const half = frequencies.length;
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]!);
      cos[position * half + i] = Math.cos(angle);
      sin[position * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** Radians per position of each pair of a head's elements, after scaling; [head size / 2]. */
export function rotaryFrequencies({ theta, scaling }: Rope, headSize: number): Float32Array {
  const frequencies = new Float32Array(headSize / 2);
  for (let i = 0; i < frequencies.length; i++) {
    const frequency = Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / headSize)));
    frequencies[i] = scaling === null ? frequency : scaled(frequency, scaling);
  }
  return frequencies;
}

/**
 * `linear` stretches all positions by the factor. `llama3` stretches the slow waves (longer than the
 * original context over the low factor), keeps the fast ones, and blends in between.
 */
function scaled(frequency: number, scaling: RopeScaling): number {
  if (scaling.type === 'linear') return frequency / scaling.factor;
  const turns = (scaling.originalContextLength * frequency) / (2 * Math.PI);
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
  if (turns < low) return frequency / factor;
  if (turns > high) return frequency;
  const kept = (turns - low) / (high - low);
  return kept * frequency + (1 - kept) * (frequency / factor);
}
