import { setImmediate as turn } from 'node:timers/promises';

/** What computes; it is asked for one thing at a time. */
export interface RowRunner {
  /** Appends tokens to one row; with the logits of each of them, or of the last. */
  chunk(row: number, ids: readonly number[], signal: AbortSignal, each: boolean): Promise<void>;
  /** Appends a token to each of several rows, in one run. */
  step(tokens: readonly RowToken[], signal: AbortSignal): Promise<void>;
}

export interface RowToken {
  row: number;
  id: number;
}

interface Request {
  row: number;
  ids: readonly number[];
  each: boolean;
  signal: AbortSignal | undefined;
  resolve(): void;
  reject(reason: unknown): void;
  /** While it waits: its signal ends that. */
  giveUp(): void;
}

/** Of the last step's time: so long a step waits for rows that will most likely be asked for again. */
const patienceDefault = 0.25;

/**
 * Who runs next: rows that want their next token run together, a chunk of a prompt runs alone.
 *
 * INVARIANTS
 * - one run at a time; of a row, one request at a time
 * - chunks and steps take turns where both wait: a chunk holds rows that decode up once, and no number of
 *   them holds a prompt up for longer than a step
 * - an abort ends what is asked for that row, and a run only when all of its rows are aborted
 */
export class RowSchedule {
  readonly #runner: RowRunner;
  readonly #patience: number;
  /** In the order in which they came. */
  #waiting: Request[] = [];
  /** Rows of the last step that have not asked again yet. */
  readonly #expected = new Set<number>();
  /** What waits until no run is under way. */
  readonly #between: (() => void)[] = [];
  #running = false;
  #lastWasChunk = false;
  #stepMs = 0;
  #changed: () => void = () => undefined;

  constructor(runner: RowRunner, patience = patienceDefault) {
    this.#runner = runner;
    this.#patience = patience;
  }

  /** Appends tokens to a row when its turn comes. */
  ask(row: number, ids: readonly number[], signal?: AbortSignal, each = false): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const request = { row, ids, each, signal, resolve, reject, giveUp: () => this.#giveUp(request) };
      this.#waiting.push(request);
      signal?.addEventListener('abort', request.giveUp);
      this.unexpect(row);
      if (!this.#running) void this.#run();
    });
  }

  /** Does something to the rows while none runs. */
  between(work: () => void): Promise<void> {
    return new Promise((resolve) => {
      this.#between.push(() => {
        work();
        resolve();
      });
      if (!this.#running) this.#doBetween();
    });
  }

  #doBetween(): void {
    for (const work of this.#between.splice(0)) work();
  }

  /** This row asks for no more tokens for now: nobody waits for it. */
  unexpect(row: number): void {
    this.#expected.delete(row);
    this.#changed();
  }

  #giveUp(request: Request): void {
    this.#take([request]);
    request.reject(request.signal?.reason);
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Whoever was just answered asks again before the turn is over.
    for (await turn(); this.#waiting.length > 0; await turn()) {
      this.#doBetween();
      if (this.#lastWasChunk || !this.#waiting.some(isChunk)) await this.#gather();
      const steps = this.#waiting.filter((request) => !isChunk(request));
      const chunk = this.#waiting.find(isChunk);
      if (chunk !== undefined && (!this.#lastWasChunk || steps.length === 0)) await this.#chunk(chunk);
      else if (steps.length > 0) await this.#step(steps);
    }
    this.#running = false;
    this.#doBetween();
  }

  /** Waits a little for the rows that the last step had, so that they go on together. */
  async #gather(): Promise<void> {
    const limit = performance.now() + this.#stepMs * this.#patience;
    while (this.#expected.size > 0) {
      const left = limit - performance.now();
      if (left <= 0) break;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#changed = resolve;
      const timer = setTimeout(resolve, left);
      await promise;
      clearTimeout(timer);
    }
    this.#expected.clear();
  }

  async #chunk(request: Request): Promise<void> {
    this.#take([request]);
    this.#lastWasChunk = true;
    await this.#settled([request], (signal) =>
      this.#runner.chunk(request.row, request.ids, signal, request.each),
    );
  }

  async #step(requests: readonly Request[]): Promise<void> {
    this.#take(requests);
    this.#lastWasChunk = false;
    const started = performance.now();
    await this.#together(requests);
    this.#stepMs = performance.now() - started;
  }

  async #together(requests: readonly Request[]): Promise<void> {
    for (const { row } of requests) this.#expected.add(row);
    const tokens = requests.map(({ row, ids }) => ({ row, id: ids[0]! }));
    const failure = await this.#settled(requests, (signal) => this.#runner.step(tokens, signal));
    // Whose fault it was shows when each runs alone.
    if (failure) for (const request of requests) await this.#together([request]);
  }

  #take(requests: readonly Request[]): void {
    this.#waiting = this.#waiting.filter((request) => !requests.includes(request));
    for (const { signal, giveUp } of requests) signal?.removeEventListener('abort', giveUp);
  }

  /** Runs and answers each; true where that failed for several and none has been answered. */
  async #settled(
    requests: readonly Request[],
    run: (signal: AbortSignal) => Promise<void>,
  ): Promise<boolean> {
    const all = new AbortController();
    const onAbort = () => {
      if (requests.every(({ signal }) => signal?.aborted)) all.abort();
    };
    onAbort();
    for (const { signal } of requests) signal?.addEventListener('abort', onAbort);
    try {
      await run(all.signal);
      for (const { signal, resolve, reject } of requests) signal?.aborted ? reject(signal.reason) : resolve();
    } catch (thrown) {
      if (requests.length > 1 && !all.signal.aborted) return true;
      for (const { signal, reject } of requests) reject(signal?.aborted ? signal.reason : thrown);
    } finally {
      for (const { signal } of requests) signal?.removeEventListener('abort', onAbort);
    }
    return false;
  }
}

function isChunk({ ids }: Request): boolean {
  return ids.length > 1;
}
