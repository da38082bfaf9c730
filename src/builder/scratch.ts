/**
 * Working memory that is used again and again: it grows to the largest size that was asked for.
 *
 * A fresh buffer per tensor would do, were typed arrays not freed so late that a build's peak would be
 * many times what it works with.
 */
export class Scratch {
  #memory = new ArrayBuffer(0);

  /** What was handed out before is overwritten. */
  bytes(length: number): Uint8Array {
    return new Uint8Array(this.#atLeast(length), 0, length);
  }

  /** What was handed out before is overwritten. */
  floats(length: number): Float32Array {
    return new Float32Array(this.#atLeast(length * 4), 0, length);
  }

  #atLeast(bytes: number): ArrayBuffer {
    if (this.#memory.byteLength < bytes) this.#memory = new ArrayBuffer(bytes);
    return this.#memory;
  }
}
