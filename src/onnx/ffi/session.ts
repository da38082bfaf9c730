import type { InferenceSession } from 'onnxruntime-common';
import type { Pointer, Status } from './api.ts';
import { check } from './errors.ts';
import type { Library } from './library.ts';
import { readMetadata, readName } from './metadata.ts';
import { makeRunOptions, makeSessionOptions, type RunOptions, type SessionOptions } from './options.ts';
import { Plan } from './plan.ts';

/**
 * A loaded graph.
 *
 * INVARIANTS
 * - one run at a time: others wait in the order in which they came
 * - what a run points to is referenced from here until it is over
 * - the graph is released after the last run that was asked for, once
 */
export class NativeSession {
  readonly library: Library;
  readonly inputs: readonly InferenceSession.ValueMetadata[];
  readonly outputs: readonly InferenceSession.ValueMetadata[];
  #pointer: Pointer;
  readonly #names = new Map<string, Pointer>();
  /** The memory that `#names` points into. */
  readonly #nameBytes: Uint8Array;
  #last: Promise<unknown> = Promise.resolve();
  #released = false;
  /** Keeps what the run under way points to. */
  protected running: Plan | undefined;

  /**
   * Loads a graph from a file or from its bytes, on another thread.
   *
   * @throws {OrtError} what ONNX Runtime says of it
   */
  static async create(
    library: Library,
    model: string | Uint8Array,
    options: SessionOptions = {},
  ): Promise<NativeSession> {
    const { api, environment } = library;
    const sessionOptions = makeSessionOptions(library, options);
    const out = new BigUint64Array(1);
    try {
      const status = await new Promise<Status>((resolve, reject) => {
        const done = (error: Error | null, result: Status) => (error ? reject(error) : resolve(result));
        if (typeof model === 'string') api.CreateSession.async(environment, model, sessionOptions, out, done);
        else
          api.CreateSessionFromArray.async(environment, model, model.byteLength, sessionOptions, out, done);
      });
      check(library, status);
    } finally {
      api.ReleaseSessionOptions(sessionOptions);
    }
    return new NativeSession(library, out[0]!);
  }

  private constructor(library: Library, pointer: Pointer) {
    this.library = library;
    this.#pointer = pointer;
    const { inputs, outputs } = readMetadata(library, pointer);
    this.inputs = inputs;
    this.outputs = outputs;
    const names = [...new Set([...inputs, ...outputs].map(({ name }) => name))];
    const encoded = names.map((name) => Buffer.from(`${name}\0`));
    // Memory of its own: small typed arrays may be moved by the garbage collector.
    this.#nameBytes = new Uint8Array(new ArrayBuffer(encoded.reduce((sum, { length }) => sum + length, 0)));
    const start: Pointer = library.koffi.address(this.#nameBytes);
    let offset = 0;
    for (const [i, bytes] of encoded.entries()) {
      this.#nameBytes.set(bytes, offset);
      this.#names.set(names[i]!, start + BigInt(offset));
      offset += bytes.length;
    }
    abandoned.register(this, () => library.api.ReleaseSession(pointer), this);
  }

  /** A fixed set of inputs and outputs, to be bound and run over and over. */
  plan(inputs: readonly string[], outputs: readonly string[]): Plan {
    return new Plan(this, inputs, outputs);
  }

  /** The address of a name, as a run wants it. It is valid while the session is referenced. */
  nameAddress(name: string): Pointer {
    const address = this.#names.get(name);
    if (address === undefined) throw new RangeError(`the graph has no input or output ${name}`);
    return address;
  }

  /** Waits for its turn, then works: no other turn begins before it is over. */
  inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#released) return Promise.reject(new Error('the session is released'));
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Runs a plan; only from within `inTurn`. */
  async execute(plan: Plan, options: RunOptions): Promise<void> {
    const { signal } = options;
    signal?.throwIfAborted();
    const { api } = this.library;
    const runOptions = makeRunOptions(this.library, options);
    const terminate = () => check(this.library, api.RunOptionsSetTerminate(runOptions));
    signal?.addEventListener('abort', terminate);
    this.running = plan;
    try {
      check(this.library, await this.#run(plan, runOptions));
    } catch (thrown) {
      signal?.throwIfAborted();
      throw thrown;
    } finally {
      this.running = undefined;
      signal?.removeEventListener('abort', terminate);
      if (runOptions !== null) api.ReleaseRunOptions(runOptions);
    }
  }

  #run(plan: Plan, runOptions: Pointer | null): Promise<Status> {
    const { inputNames, inputs, outputNames, outputs } = plan;
    return new Promise((resolve, reject) => {
      this.library.api.Run.async(
        this.#pointer,
        runOptions,
        inputNames,
        inputs,
        inputs.length,
        outputNames,
        outputs.length,
        outputs,
        (error, status) => (error ? reject(error) : resolve(status)),
      );
    });
  }

  /** Ends profiling, where it was asked for, and returns the file that was written. */
  endProfiling(): string {
    return readName(this.library, (out) =>
      this.library.api.SessionEndProfiling(this.#pointer, this.library.allocator, out),
    );
  }

  /** Gives the memory back, after the runs that were asked for. Twice does no harm. */
  async release(): Promise<void> {
    const first = !this.#released;
    this.#released = true;
    await this.#last;
    if (!first || this.#pointer === 0n) return;
    abandoned.unregister(this);
    this.library.api.ReleaseSession(this.#pointer);
    this.#pointer = 0n;
  }
}

/** A session that nobody can reach any more is released when it is collected. */
const abandoned = new FinalizationRegistry<() => void>((release) => release());
