import type { ResponseFormat } from '../contract/prompt.ts';
import { SlmdError } from '../lib/errors.ts';
import type { Constraint } from './constraint.ts';
import { type GrammarOptions, GrammarThread } from './grammar-thread.ts';
import { Refusals } from './refusals.ts';

/**
 * Holds answers to a response format, several at a time: each has a thread to itself until it is closed,
 * so that a schema which takes long, or is given up, holds up nobody else's answer. The thread that was
 * used last is used first, because it has the schemas that were asked for lately; where answers come one
 * after another there is only one. Nothing is loaded before the first that needs it.
 */
export class Grammars {
  readonly #options: GrammarOptions;
  readonly #threads = new Set<GrammarThread>();
  readonly #idle: GrammarThread[] = [];
  readonly #refusals: Refusals;

  constructor(options: GrammarOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.now);
  }

  /** See `GrammarThread.open`; what is opened is to be closed. */
  async open(
    format: ResponseFormat,
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<Constraint | undefined> {
    this.#refusals.check(format);
    const thread = this.#idle.pop() ?? this.#make();
    let constraint: Constraint | undefined;
    try {
      constraint = await thread.open(format, onProgress, signal);
      return constraint;
    } catch (thrown) {
      if (thrown instanceof SlmdError && thrown.code === 'schema_unsupported')
        this.#refusals.add(format, thrown.message);
      throw thrown;
    } finally {
      if (constraint === undefined) this.#idle.push(thread);
    }
  }

  /** Ends all threads. */
  async close(): Promise<void> {
    await Promise.all([...this.#threads].map((thread) => thread.close()));
  }

  #make(): GrammarThread {
    const thread: GrammarThread = new GrammarThread(this.#options, () => this.#idle.push(thread));
    this.#threads.add(thread);
    return thread;
  }
}
