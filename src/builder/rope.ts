/** How rotary position embeddings turn positions into angles. */
export interface Rope {
  theta: number;
  /** Elements of each head that are rotated: its first ones. */
  dimensions: number;
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
    }
  | {
      type: 'yarn';
      factor: number;
      betaFast: number;
      betaSlow: number;
      originalContextLength: number;
      /** Bounds of the blend are whole dimensions. */
      truncate: boolean;
      amplitude: number;
    }
  /** Each wave has a factor of its own. */
  | { type: 'factors'; factors: readonly number[]; amplitude: number };

/**
 * The cosines and sines that GroupQueryAttention rotates with, each [positions, rotated elements / 2].
 *
 * Models are trained with angles in float32, whose rounding at far positions is part of what they
 * learned; so every step here rounds to float32 as well.
 */
export function rotaryTables(rope: Rope, positions: number): { cos: Float32Array; sin: Float32Array } {
  const frequencies = rotaryFrequencies(rope);
  const half = frequencies.length;
  const { scaling } = rope;
  // Some scalings also lengthen queries and keys; a longer cosine and sine do just that.
  const amplitude = scaling !== null && 'amplitude' in scaling ? scaling.amplitude : 1;
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]!);
      cos[position * half + i] = Math.cos(angle) * amplitude;
      sin[position * half + i] = Math.sin(angle) * amplitude;
    }
  }
  return { cos, sin };
}

/** Radians per position of each pair of a head's elements, after scaling; [rotated elements / 2]. */
export function rotaryFrequencies({ theta, dimensions, scaling }: Rope): Float32Array {
  const frequencies = new Float32Array(dimensions / 2);
  for (let i = 0; i < frequencies.length; i++) {
    const frequency = Math.fround(1 / Math.fround(theta ** Math.fround((2 * i) / dimensions)));
    frequencies[i] = scaling === null ? frequency : scaled(frequency, i, { theta, dimensions, scaling });
  }
  return frequencies;
}

/**
 * `linear` stretches all positions by the factor. `llama3` stretches the slow waves (longer than the
 * original context over the low factor), keeps the fast ones, and blends in between; `yarn` does so
 * along the dimensions. `factors` stretches each wave by its own.
 */
function scaled(frequency: number, i: number, rope: Rope & { scaling: RopeScaling }): number {
  const { scaling } = rope;
  if (scaling.type === 'linear') return frequency / scaling.factor;
  if (scaling.type === 'factors') return frequency / scaling.factors[i]!;
  const kept = scaling.type === 'yarn' ? keptByYarn(i, rope, scaling) : keptByLlama3(frequency, scaling);
  return kept * frequency + (1 - kept) * (frequency / scaling.factor);
}

/** 1 keeps a wave, 0 stretches it. */
function keptByLlama3(
  frequency: number,
  { lowFrequencyFactor: low, highFrequencyFactor: high, originalContextLength }: Of<'llama3'>,
): number {
  const turns = (originalContextLength * frequency) / (2 * Math.PI);
  return clamp((turns - low) / (high - low));
}

/** 1 keeps a wave, 0 stretches it. */
function keptByYarn(
  i: number,
  { theta, dimensions }: Rope,
  { betaFast, betaSlow, originalContextLength, truncate }: Of<'yarn'>,
): number {
  /** The wave that turns this often within the original context, as a fraction of a place. */
  const placeOf = (turns: number) =>
    (dimensions * Math.log(originalContextLength / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(0, truncate ? Math.floor(placeOf(betaFast)) : placeOf(betaFast));
  const wanted = truncate ? Math.ceil(placeOf(betaSlow)) : placeOf(betaSlow);
  const high = Math.min(dimensions - 1, wanted);
  // A blend of no width would divide by zero.
  return 1 - clamp((i - low) / (high === low ? 0.001 : high - low));
}

type Of<Type> = Extract<RopeScaling, { type: Type }>;

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
