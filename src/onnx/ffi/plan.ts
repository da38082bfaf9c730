import type { Pointer } from './api.ts';
import type { RunOptions } from './options.ts';
import type { NativeSession } from './session.ts';
import type { NativeValue, OutputValue } from './value.ts';

/**
 * Inputs and outputs of a session by their addresses, laid out as a run wants them.
 *
 * A run with everything bound allocates nothing and looks nothing up. The same value may be bound to an
 * input and to an output where the graph's operators allow it.
 *
 * INVARIANTS
 * - bindings change between runs only
 * - every value that is bound is referenced, with its memory, for as long as it is
 */
export class Plan {
  readonly inputNames: BigUint64Array;
  readonly inputs: BigUint64Array;
  readonly outputNames: BigUint64Array;
  readonly outputs: BigUint64Array;
  readonly #session: NativeSession;
  readonly #inputPlaces: ReadonlyMap<string, number>;
  readonly #outputPlaces: ReadonlyMap<string, number>;
  readonly #boundInputs: (NativeValue | OutputValue | undefined)[] = [];
  readonly #boundOutputs: (NativeValue | undefined)[] = [];

  constructor(session: NativeSession, inputs: readonly string[], outputs: readonly string[]) {
    this.#session = session;
    this.inputNames = BigUint64Array.from(inputs, (name) => session.nameAddress(name));
    this.outputNames = BigUint64Array.from(outputs, (name) => session.nameAddress(name));
    this.inputs = new BigUint64Array(inputs.length);
    this.outputs = new BigUint64Array(outputs.length);
    this.#inputPlaces = new Map(inputs.map((name, i) => [name, i]));
    this.#outputPlaces = new Map(outputs.map((name, i) => [name, i]));
  }

  /** @throws {RangeError} for a name that the plan does not have */
  bindInput(name: string, value: NativeValue | OutputValue): void {
    const place = placeOf(this.#inputPlaces, name);
    this.#boundInputs[place] = value;
    this.inputs[place] = value.pointer;
  }

  /** Binds the memory that an output is written to; undefined lets ONNX Runtime allocate it. */
  bindOutput(name: string, value: NativeValue | undefined): void {
    const place = placeOf(this.#outputPlaces, name);
    this.#boundOutputs[place] = value;
    this.outputs[place] = value?.pointer ?? 0n;
  }

  /** After a run: an output that ONNX Runtime allocated. It is the caller's to release. */
  takeOutput(name: string): Pointer {
    const place = placeOf(this.#outputPlaces, name);
    const pointer = this.outputs[place]!;
    this.outputs[place] = 0n;
    return pointer;
  }

  /** Runs with what is bound, when the session's earlier runs are over. */
  run(options: RunOptions = {}): Promise<void> {
    return this.#session.inTurn(() => this.#session.execute(this, options));
  }
}

function placeOf(places: ReadonlyMap<string, number>, name: string): number {
  const place = places.get(name);
  if (place === undefined) throw new RangeError(`the plan has no ${name}`);
  return place;
}
