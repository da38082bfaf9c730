/** How each element type of a checkpoint is widened to float32. All are little-endian. */
export const elements = {
  F32: { bytes: 4, decode: decodeF32 },
  F16: { bytes: 2, decode: decodeF16 },
  BF16: { bytes: 2, decode: decodeBF16 },
} as const;

export type ElementName = keyof typeof elements;

export function isElementName(name: string): name is ElementName {
  return Object.hasOwn(elements, name);
}

/** Decoders fill `out` from the first `out.length` elements of `bytes`, which starts on a multiple of 4. */
function decodeF32(bytes: Uint8Array, out: Float32Array): void {
  out.set(new Float32Array(bytes.buffer, bytes.byteOffset, out.length));
}

/** bfloat16 is the upper half of a float32. */
function decodeBF16(bytes: Uint8Array, out: Float32Array): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, out.length);
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < words.length; i++) words[i] = halves[i]! << 16;
}

function decodeF16(bytes: Uint8Array, out: Float32Array): void {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, out.length);
  const words = new Uint32Array(out.buffer, out.byteOffset, out.length);
  for (let i = 0; i < words.length; i++) words[i] = widenHalf(halves[i]!);
}

/** The bits of the float32 that equals a binary16; the exponent's bias goes from 15 to 127. */
function widenHalf(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 31) return sign | 0x7f800000 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // A subnormal is fraction × 2⁻²⁴: shift its leading one into the implicit place.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}
