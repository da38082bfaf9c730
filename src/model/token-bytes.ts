/**
 * How a vocabulary spells bytes, by the decoder of `tokenizer.json`: each byte as a letter of GPT-2's
 * alphabet, or as text in which `▁` is a space and `<0x0A>` a byte that is no character of its own.
 */
export function tokenBytes(decoder: unknown): (token: string) => Uint8Array {
  if (stepTypes(decoder).includes('ByteLevel')) return byteLevelBytes;
  return (token) => {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    return byte === undefined
      ? Buffer.from(token.replaceAll('\u2581', ' '))
      : Uint8Array.of(Number.parseInt(byte, 16));
  };
}

function stepTypes(decoder: unknown): unknown[] {
  const { type, decoders } = (decoder ?? {}) as { type?: unknown; decoders?: unknown };
  return Array.isArray(decoders) ? decoders.flatMap(stepTypes) : [type];
}

function byteLevelBytes(token: string): Uint8Array {
  return Uint8Array.from(
    [...token].flatMap((letter) => byteOfLetter.get(letter) ?? [...Buffer.from(letter)]),
  );
}

/** GPT-2's `bytes_to_unicode`: what prints stands for itself, the rest follows from U+0100 on, in order. */
const byteOfLetter: ReadonlyMap<string, number> = (() => {
  const prints = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  const letters = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 0x100; byte++)
    letters.set(String.fromCharCode(prints(byte) ? byte : next++), byte);
  return letters;
})();
