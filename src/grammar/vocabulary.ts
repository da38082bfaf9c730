/** The bytes that each token stands for, in two arrays: they go to another thread without being copied. */
export interface Vocabulary {
  bytes: Uint8Array;
  /** Where the bytes of an id begin; one more than there are ids. */
  offsets: Uint32Array;
  /** Tokens that end an answer. */
  stopIds: number[];
}

/** @param bytesOf undefined for an id that is no text: control tokens, and ids that no token has */
export function vocabularyOf(
  size: number,
  bytesOf: (id: number) => Uint8Array | undefined,
  stopIds: ReadonlySet<number>,
): Vocabulary {
  const tokens = Array.from({ length: size }, (_, id) =>
    stopIds.has(id) ? new Uint8Array() : (bytesOf(id) ?? new Uint8Array()),
  );
  const offsets = new Uint32Array(size + 1);
  for (const [id, { length }] of tokens.entries()) offsets[id + 1] = offsets[id]! + length;
  const bytes = new Uint8Array(offsets[size]!);
  for (const [id, token] of tokens.entries()) bytes.set(token, offsets[id]);
  return { bytes, offsets, stopIds: [...stopIds].filter((id) => id < size) };
}

/** How many ids there are. */
export function sizeOf({ offsets }: Pick<Vocabulary, 'offsets'>): number {
  return offsets.length - 1;
}

export function bytesOf({ bytes, offsets }: Vocabulary, id: number): Uint8Array {
  return bytes.subarray(offsets[id], offsets[id + 1]);
}

export function tokensOf(vocabulary: Vocabulary): Uint8Array[] {
  return Array.from({ length: sizeOf(vocabulary) }, (_, id) => bytesOf(vocabulary, id));
}
