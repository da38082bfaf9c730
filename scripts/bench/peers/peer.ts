/** Something that runs a language model in this process, as its users would run it. */
export interface Peer {
  /** What it is and how it was set up, for whoever reads the numbers. */
  readonly version: string;
  readonly settings: string;
  /**
   * Continues a prompt greedily.
   *
   * With `cached`, the prompt begins with the whole prompt of the last answer, which was one token long:
   * what is known of it is not computed again.
   */
  answer(prompt: readonly number[], tokens: number, cached: boolean): Promise<Answer>;
  /**
   * Begins to read a prompt and asks after a while that it be given up.
   *
   * @returns milliseconds from the moment at which it was to be asked until the peer was free again
   */
  cancel(prompt: readonly number[], afterMs: number): Promise<number>;
  /**
   * Continues several prompts at the same time, where it can.
   *
   * @returns tokens per second of all together, from when every prompt is read
   */
  together?(prompts: readonly number[][], tokens: number): Promise<number>;
  close(): Promise<void>;
}

export interface Answer {
  ids: number[];
  /** Until the first token was known. */
  ttft_ms: number;
  /** From one token to the next, one less than there are tokens. */
  intervals_ms: number[];
}

export interface PeerOptions {
  /** What the peer reads: a directory or a file of `models/build.ts`. */
  model: string;
  /** Where its packages are installed. */
  packages: string;
  threads: number;
  clock: Clock;
  /** Prompts that slmd answers at a time; 1 by default. */
  rows?: number;
  /** Room for prompt and answer. */
  contextLength: number;
}

/**
 * What speed is measured by: time, or the processor time of the peer's process. On a machine that does other
 * things as well, the second is what one thread would take alone; of several threads it is the sum.
 */
export type Clock = 'wall' | 'processor';

export const clocks: Record<Clock, () => number> = {
  wall: () => performance.now(),
  processor() {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
};

/** Collects an answer while it is made. */
export class AnswerClock {
  readonly #now: () => number;
  readonly #started: number;
  readonly #ids: number[] = [];
  readonly #stamps: number[] = [];

  constructor(clock: Clock) {
    this.#now = clocks[clock];
    this.#started = this.#now();
  }

  get tokens(): number {
    return this.#ids.length;
  }

  token(id: number): void {
    this.#stamps.push(this.#now());
    this.#ids.push(id);
  }

  answer(): Answer {
    const [first = Number.NaN] = this.#stamps;
    const intervals_ms = this.#stamps.slice(1).map((stamp, i) => stamp - this.#stamps[i]!);
    return { ids: this.#ids, ttft_ms: first - this.#started, intervals_ms };
  }
}

/** By the wall clock, runs a prompt that is to be given up; `stop` is called when it is time, as far as the thread is free. */
export async function cancelLatency(
  run: () => Promise<unknown>,
  stop: () => void,
  afterMs: number,
): Promise<number> {
  const started = performance.now();
  const timer = setTimeout(stop, afterMs);
  await run();
  clearTimeout(timer);
  return performance.now() - started - afterMs;
}
