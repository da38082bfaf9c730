import { type Library, NativeValue, type Plan } from './ffi/index.ts';
import { feedOf, type NewTokens, type TokenInput } from './token-inputs.ts';

/** What a plan is told of the tokens; where shapes stay as they were, nothing is made anew. */
export class NativeTokens {
  readonly #library: Library;
  readonly #inputs: readonly TokenInput[];
  readonly #plan: Plan;
  readonly #values: (NativeValue | undefined)[] = [];

  constructor(library: Library, inputs: readonly TokenInput[], plan: Plan) {
    this.#library = library;
    this.#inputs = inputs;
    this.#plan = plan;
  }

  /** Binds what the next run appends to each row; see `feedOf`. */
  tell(rows: readonly NewTokens[], kept: number): void {
    for (const [i, input] of this.#inputs.entries()) {
      const { name, type, data, dims } = feedOf(input, rows, kept);
      const value = this.#values[i];
      if (value?.dims.every((dim, axis) => dim === dims[axis])) {
        (value.data as BigInt64Array).set(data as BigInt64Array);
        continue;
      }
      value?.release();
      const made = new NativeValue(this.#library, type, data, dims);
      this.#values[i] = made;
      this.#plan.bindInput(name, made);
    }
  }

  release(): void {
    for (const value of this.#values.splice(0)) value?.release();
  }
}
