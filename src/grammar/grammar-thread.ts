import type { Worker } from 'node:worker_threads';
import type { ResponseFormat } from '../contract/prompt.ts';
import { SlmdError } from '../lib/errors.ts';
import { Constraint } from './constraint.ts';
import type { Choice } from './matcher.ts';
import { quietWorker } from './quiet-worker.ts';
import type { Vocabulary } from './vocabulary.ts';
import type { FromWorker, ToWorker } from './worker.ts';

export interface GrammarOptions {
  /** Called once, when the first request needs it. */
  vocabulary(): Vocabulary;
  /** A schema that is not compiled after so long is refused: nobody waits for ever for a shape. */
  compile_ms_max?: number;
  /** WebAssembly never gives memory back: a thread that holds more than this is replaced. */
  memory_bytes_max?: number;
  /** Monotonic, in milliseconds: when a refusal is forgotten. */
  now?: () => number;
}

/** A sign of life while a grammar is compiled, well within any engine.stall_ms. */
const progressMs = 500;
const compileMsMax = 60_000;
/** Of a board with 1 GB; a large vocabulary takes 16 MiB, and a schema seldom adds a few. */
const memoryBytesMax = 256 * 1024 * 1024;

/**
 * Holds answers to a response format, one at a time, in a thread that starts with the first of them.
 *
 * INVARIANTS: one message is under way to the thread; a thread that failed, was too slow, or was given up
 * on is ended, and the next request starts another.
 */
export class GrammarThread {
  readonly #options: GrammarOptions;
  readonly #over: () => void;
  #worker: Worker | undefined;
  #memoryBytes = 0;

  /** @param over is called when an answer is over */
  constructor(options: GrammarOptions, over: () => void) {
    this.#options = options;
    this.#over = over;
  }

  /**
   * Begins an answer; undefined when `signal` ended the wait for it.
   *
   * @param onProgress called every now and then while a schema is compiled
   * @throws {SlmdError} `schema_unsupported` when it cannot be enforced here, `engine_failed`
   */
  async open(
    format: ResponseFormat,
    onProgress: () => void,
    signal: AbortSignal,
  ): Promise<Constraint | undefined> {
    const limitMs = this.#options.compile_ms_max ?? compileMsMax;
    const tooSlow = AbortSignal.timeout(limitMs);
    const alive = setInterval(onProgress, progressMs);
    try {
      const first = await this.#ask({ kind: 'open', format }, AbortSignal.any([signal, tooSlow]));
      return new Constraint(
        first,
        (id) => this.#ask({ kind: 'accept', id }),
        () => this.#finish(),
      );
    } catch (thrown) {
      if (signal.aborted) return undefined;
      if (!tooSlow.aborted) throw thrown;
      const message = `the schema takes longer than ${limitMs} ms to prepare for this model; a pattern that repeats less often, or a maxLength in its place, is quick`;
      throw new SlmdError('schema_unsupported', message);
    } finally {
      clearInterval(alive);
    }
  }

  /** Ends the thread; the next request starts one. */
  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  async #ask(message: ToWorker, signal?: AbortSignal): Promise<Choice> {
    const worker = this.#running();
    const reply = await exchange(worker, message, signal);
    if (reply.kind === 'refused') throw new SlmdError('schema_unsupported', reply.reason);
    if (reply.kind === 'failed') {
      await this.close();
      throw new SlmdError('engine_failed', `the grammar failed: ${reply.reason}`);
    }
    this.#memoryBytes = reply.memory_bytes;
    return reply;
  }

  /** Between two answers is when a thread can be replaced. */
  #finish(): void {
    if (this.#memoryBytes > (this.#options.memory_bytes_max ?? memoryBytesMax)) void this.close();
    this.#over();
  }

  #running(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const vocabulary = this.#options.vocabulary();
    const buffers = [vocabulary.bytes.buffer, vocabulary.offsets.buffer] as ArrayBuffer[];
    const worker = quietWorker(workerFile(), vocabulary, buffers);
    // Also where nobody is waiting for it: what has ended is not asked again.
    const gone = () => {
      if (this.#worker === worker) this.#worker = undefined;
    };
    worker.on('error', gone).on('exit', gone).unref();
    this.#worker = worker;
    return worker;
  }
}

/** One message and its reply; whatever ends the thread, or the wait for it, is a failure. */
function exchange(worker: Worker, message: ToWorker, signal?: AbortSignal): Promise<FromWorker> {
  const { promise, resolve } = Promise.withResolvers<FromWorker>();
  const ended = () => resolve({ kind: 'failed', reason: 'its thread ended' });
  worker.once('message', resolve).once('error', ended).once('exit', ended);
  signal?.addEventListener('abort', ended);
  // A thread that nobody waits for keeps no process alive, and one that is waited for does.
  worker.ref();
  worker.postMessage(message);
  if (signal?.aborted) ended();
  return promise.finally(() => {
    worker.unref();
    worker.off('message', resolve).off('error', ended).off('exit', ended);
    signal?.removeEventListener('abort', ended);
  });
}

/** The bundle has an entry point of its own for it. */
function workerFile(): URL {
  return new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './grammar.js', import.meta.url);
}
