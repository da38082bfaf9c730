import type {
  Backend,
  InferenceSession,
  InferenceSessionHandler,
  SessionHandler,
  Tensor,
  TensorConstructor,
} from 'onnxruntime-common';
import { type Library, type LibraryOptions, openLibrary } from './library.ts';
import type { RunOptions } from './options.ts';
import type { Plan } from './plan.ts';
import { NativeSession } from './session.ts';
import { TensorValues } from './tensor-values.ts';
import { type NativeValue, takeOutput } from './value.ts';

/** What this needs of `onnxruntime-common`, which exists twice: once for `import`, once for `require`. */
export interface OnnxRuntimeCommon {
  Tensor: TensorConstructor;
  registerBackend(name: string, backend: Backend, priority: number): void;
}

export interface BackendOptions extends LibraryOptions {
  /** One that is open already. */
  library?: Library;
  /** What `executionProviders` calls it. */
  name?: string;
  /** The highest is taken where a session names no provider; `onnxruntime-node` has 100. */
  priority?: number;
}

/**
 * Registers the backend with the copy of `onnxruntime-common` whose `InferenceSession` and `Tensor` you use.
 *
 * @throws {NativeUnavailableError} where the library cannot be opened; nothing is registered then
 */
export function registerNativeBackend(common: OnnxRuntimeCommon, options: BackendOptions = {}): void {
  const library = options.library ?? openLibrary(options);
  const values = new TensorValues(library);
  const backend: Backend = {
    init: async () => {},
    async createInferenceSessionHandler(model, sessionOptions) {
      const session = await NativeSession.create(library, model, sessionOptions);
      return new SessionOfBackend(session, values, common.Tensor);
    },
  };
  common.registerBackend(options.name ?? 'native', backend, options.priority ?? 1);
}

class SessionOfBackend implements InferenceSessionHandler {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly InferenceSession.ValueMetadata[];
  readonly outputMetadata: readonly InferenceSession.ValueMetadata[];
  readonly #session: NativeSession;
  readonly #values: TensorValues;
  readonly #Tensor: TensorConstructor;
  /** The names of the last run, and its plan: most callers ask for the same again. */
  #last: { inputs: string[]; outputs: string[]; plan: Plan } | undefined;

  constructor(session: NativeSession, values: TensorValues, Tensor: TensorConstructor) {
    this.#session = session;
    this.#values = values;
    this.#Tensor = Tensor;
    this.inputMetadata = session.inputs;
    this.outputMetadata = session.outputs;
    this.inputNames = session.inputs.map(({ name }) => name);
    this.outputNames = session.outputs.map(({ name }) => name);
  }

  run(
    feeds: SessionHandler.FeedsType,
    fetches: SessionHandler.FetchesType,
    options: RunOptions,
  ): Promise<SessionHandler.ReturnType> {
    return this.#session.inTurn(() => this.#run(feeds, fetches, options));
  }

  async #run(
    feeds: SessionHandler.FeedsType,
    fetches: SessionHandler.FetchesType,
    options: RunOptions,
  ): Promise<SessionHandler.ReturnType> {
    const plan = this.#planFor(Object.keys(feeds), Object.keys(fetches));
    const borrowed: NativeValue[] = [];
    const borrow = (tensor: Tensor): NativeValue => {
      const { value, once } = this.#values.get(tensor);
      if (once) borrowed.push(value);
      return value;
    };
    try {
      for (const [name, feed] of Object.entries(feeds)) plan.bindInput(name, borrow(feed as Tensor));
      for (const [name, fetch] of Object.entries(fetches))
        plan.bindOutput(name, fetch === null ? undefined : borrow(fetch as Tensor));
      await this.#session.execute(plan, options);
      return this.#collect(plan, fetches);
    } finally {
      for (const value of borrowed) value.release();
    }
  }

  #planFor(inputs: string[], outputs: string[]): Plan {
    const last = this.#last;
    if (last !== undefined && sameNames(last.inputs, inputs) && sameNames(last.outputs, outputs))
      return last.plan;
    const plan = this.#session.plan(inputs, outputs);
    this.#last = { inputs, outputs, plan };
    return plan;
  }

  /** A tensor that was given comes back as the same object; others are copied from ONNX Runtime's memory. */
  #collect(plan: Plan, fetches: SessionHandler.FetchesType): SessionHandler.ReturnType {
    const taken = new Map<string, bigint>();
    for (const [name, fetch] of Object.entries(fetches))
      if (fetch === null) taken.set(name, plan.takeOutput(name));
    const results: Record<string, Tensor> = {};
    const failures: unknown[] = [];
    for (const [name, fetch] of Object.entries(fetches)) {
      if (fetch !== null) {
        results[name] = fetch as Tensor;
        continue;
      }
      try {
        const { type, data, dims } = takeOutput(this.#session.library, taken.get(name)!);
        results[name] = new this.#Tensor(type, data as Tensor.DataType, dims);
      } catch (thrown) {
        failures.push(thrown);
      }
    }
    if (failures.length > 0) throw failures[0];
    return results;
  }

  /** Profiling begins when a session is made with `enableProfiling`. */
  startProfiling(): void {}

  endProfiling(): void {
    this.#session.endProfiling();
  }

  dispose(): Promise<void> {
    return this.#session.release();
  }
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}
