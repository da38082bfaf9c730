import { bytesOf } from '../lib/bytes-of.ts';
import { type Library, NativeValue, OutputValue, type Plan } from './ffi/index.ts';
import type { GraphInterface } from './graph-interface.ts';

type LogitsOf = Pick<GraphInterface, 'logits' | 'logitsType' | 'vocabularySize'>;

/** Where a token of each of several rows has its logits, [rows, vocabulary], in float32 whatever the graph computes in. */
export class NativeLogits {
  readonly values: Float32Array;
  readonly #name: string;
  readonly #output: NativeValue;
  /** What the graph writes, where that is not float32. */
  readonly #halves: Float16Array | null;

  constructor(library: Library, { logits, logitsType, vocabularySize }: LogitsOf, rows: number) {
    this.values = new Float32Array(rows * vocabularySize);
    this.#name = logits;
    this.#halves = logitsType === 'float16' ? new Float16Array(this.values.length) : null;
    const dims = [rows, 1, vocabularySize];
    this.#output = new NativeValue(library, logitsType, bytesOf(this.#halves ?? this.values), dims);
  }

  bind(plan: Plan): void {
    plan.bindOutput(this.#name, this.#output);
  }

  /** After a run of a plan that it is bound to. */
  read(): void {
    if (this.#halves !== null) this.values.set(this.#halves);
  }

  release(): void {
    this.#output.release();
  }
}

/**
 * After a run that had nothing bound for its logits: those of the last tokens, as many as there is place for.
 *
 * @returns of how many tokens they are: graphs may give the last one's alone
 */
export function takeLogits(
  library: Library,
  plan: Plan,
  { logits, vocabularySize }: LogitsOf,
  place: Float32Array,
): number {
  const output = new OutputValue(library, plan.takeOutput(logits));
  try {
    const all = output.view().data as Float32Array;
    const last = all.subarray(Math.max(0, all.length - place.length));
    place.set(last);
    return last.length / vocabularySize;
  } finally {
    output.release();
  }
}
