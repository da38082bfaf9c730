import type { Decoder } from '../../src/onnx/decoder.ts';

/** Above all logits of random weights. */
const lean = 40;

/** A model of random weights that says what it is told to: its words are a script's, its time is its own. */
export class LeaningDecoder implements Decoder {
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly #decoder: Decoder;
  #script: readonly number[] = [];
  #start = 0;

  constructor(decoder: Decoder) {
    this.#decoder = decoder;
    this.contextLength = decoder.contextLength;
    this.vocabularySize = decoder.vocabularySize;
  }

  /** From now on these tokens come behind so many of a prompt. */
  say(script: readonly number[], start: number): void {
    this.#script = script;
    this.#start = start;
  }

  get length(): number {
    return this.#decoder.length;
  }

  async forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    const logits = await this.#decoder.forward(ids, signal);
    this.#lean(logits, this.length);
    return logits;
  }

  readonly forwardEach = async (ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> => {
    const before = this.length;
    const logits = await this.#decoder.forwardEach!(ids, signal);
    for (let i = 0; i < ids.length; i++) this.#lean(logits.subarray(i * this.vocabularySize), before + i + 1);
    return logits;
  };

  rewind(length: number): void {
    this.#decoder.rewind(length);
  }

  reset(): void {
    this.#decoder.reset();
  }

  dispose(): Promise<void> {
    return this.#decoder.dispose();
  }

  #lean(logits: Float32Array, length: number): void {
    const id = this.#script[length - this.#start];
    if (id !== undefined) logits[id]! += lean;
  }
}
