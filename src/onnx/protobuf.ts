/**
 * Writes Protocol Buffers wire format: enough of it for ONNX, and nothing that only readers need.
 *
 * A message is the concatenation of its fields, so a writer is a list of byte chunks; a nested message
 * is written whole into its parent. Integers are `number` or `bigint`; negative ones take the ten bytes
 * that `int64` prescribes. Repeated fields are written unpacked, as proto2 (onnx.proto) declares them.
 */
export class ProtobufWriter {
  readonly #chunks: Uint8Array[] = [];
  #length = 0;

  /** Wire type 0: int32, int64, bool, enum. */
  integer(field: number, value: number | bigint): this {
    this.#push(varint(tag(field, 0)));
    return this.#push(varint(value));
  }

  integers(field: number, values: readonly (number | bigint)[]): this {
    for (const value of values) this.integer(field, value);
    return this;
  }

  /** Wire type 5: an IEEE 754 single, little-endian. */
  float(field: number, value: number): this {
    this.#push(varint(tag(field, 5)));
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    return this.#push(bytes);
  }

  /** Wire type 2, from a chunk that must not change until `finish`. */
  bytes(field: number, value: Uint8Array): this {
    this.#push(varint(tag(field, 2)));
    this.#push(varint(value.length));
    return this.#push(value);
  }

  string(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }

  strings(field: number, values: readonly string[]): this {
    for (const value of values) this.string(field, value);
    return this;
  }

  /** Wire type 2: a message inside this one. */
  message(field: number, value: ProtobufWriter): this {
    this.#push(varint(tag(field, 2)));
    this.#push(varint(value.#length));
    for (const chunk of value.#chunks) this.#push(chunk);
    return this;
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      out.set(chunk, at);
      at += chunk.length;
    }
    return out;
  }

  #push(chunk: Uint8Array): this {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    return this;
  }
}

const utf8 = new TextEncoder();

function tag(field: number, wireType: number): number {
  return field * 8 + wireType;
}

/** Base 128, least significant group first; negative values as 64-bit two's complement. */
function varint(value: number | bigint): Uint8Array {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) throw new Error(`not an integer: ${value}`);
  let rest = BigInt.asUintN(64, BigInt(value));
  const out: number[] = [];
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  out.push(Number(rest));
  return Uint8Array.from(out);
}
