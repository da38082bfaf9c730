import { CacheMemory } from './cache-memory.ts';
import {
  assertRewind,
  assertRoom,
  type DecoderRows,
  eachMax,
  type Sequence,
  type Snapshots,
} from './decoder.ts';
import type { NativeSession, Plan } from './ffi/index.ts';
import type { GraphInterface } from './graph-interface.ts';
import { NativeLogits, takeLogits } from './native-logits.ts';
import { NativeTokens } from './native-tokens.ts';
import { type RowRunner, RowSchedule, type RowToken } from './row-schedule.ts';

/** Neighbouring rows that take tokens in one run, and what is bound for it. */
interface Neighbours {
  plan: Plan;
  tokens: NativeTokens;
  logits: NativeLogits;
}

/** At the end of a run, what nothing is in of ONNX Runtime's memory is given back. */
const shrinking = { extra: { memory: { enable_memory_arena_shrinkage: 'cpu:0' } } };

/**
 * The rows of a graph whose past and present are one memory. Each run reads what is in the KV cache and writes the new
 * tokens behind it. The cache is bound once, and again each time that it has moved.
 *
 * A run of several rows takes all that lie between the first and the last of them: a row that is not asked
 * for gets a token behind its last one, where nothing is read before it is overwritten.
 */
export class NativeRows implements DecoderRows, RowRunner {
  readonly #session: NativeSession;
  readonly #graph: GraphInterface;
  readonly #memory: CacheMemory;
  readonly #bound = new Map<string, Neighbours>();
  /** Whether ONNX Runtime holds what a chunk of a prompt needed, which a token does not. */
  #roomy = false;
  #rows: readonly Row[];
  #limit: DecoderRows['limit'] = 'memory';

  /** @param graph one that is `shared` */
  constructor(session: NativeSession, graph: GraphInterface, contextLength: number, count: number) {
    this.#session = session;
    this.#graph = graph;
    this.#memory = new CacheMemory(session.library, graph.cache, count, contextLength);
    const schedule = new RowSchedule(this);
    this.#rows = Array.from({ length: count }, (_, index) => {
      const logits = this.#neighbours(index, 1).logits.values;
      return new Row(schedule, this.#memory, index, logits, contextLength);
    });
  }

  get rows(): readonly Row[] {
    return this.#rows;
  }

  get limit(): DecoderRows['limit'] {
    return this.#limit;
  }

  /**
   * Finds out by two runs what names of dimensions do not say: whether each token of a run has logits, and whether the
   * graph takes several rows at all. Before anything else is run.
   *
   * @throws whatever ONNX Runtime says of a graph that cannot run several tokens
   */
  async learn(): Promise<void> {
    const { signal } = new AbortController();
    const rows = this.#rows;
    const [first, second] = rows as [Row, Row?];
    if (first.contextLength > 1) {
      const place = new Float32Array(2 * first.vocabularySize);
      const given = await this.#append(first, [0, 0], place, signal);
      if (given === 2) for (const row of rows) row.giveEach();
    }
    if (second !== undefined)
      await this.#appendTogether([first, second], [0, 0], signal).catch(() => {
        this.#rows = [first];
        this.#limit = 'graph';
      });
    for (const row of rows) row.reset();
  }

  async chunk(index: number, ids: readonly number[], signal: AbortSignal, each = false): Promise<void> {
    const row = this.#rows[index]!;
    await this.#append(row, ids, each ? row.eachOf(ids.length) : row.logits, signal);
  }

  async step(tokens: readonly RowToken[], signal: AbortSignal): Promise<void> {
    const indexes = tokens.map(({ row }) => row);
    const first = Math.min(...indexes);
    const rows = this.#rows.slice(first, Math.max(...indexes) + 1);
    // A row between them that is full has no place for the token that nobody reads.
    const full = rows.some((row) => row.length === row.contextLength && !indexes.includes(row.index));
    if (tokens.length === 1 || full) {
      for (const { row, id } of tokens) await this.chunk(row, [id], signal);
      return;
    }
    const ids = rows.map(({ index }) => tokens.find(({ row }) => row === index)?.id ?? 0);
    const logits = await this.#appendTogether(rows, ids, signal);
    const { vocabularySize } = this.#graph;
    for (const { row } of tokens) {
      const start = (row - first) * vocabularySize;
      this.#rows[row]!.logits.set(logits.subarray(start, start + vocabularySize));
    }
  }

  async dispose(): Promise<void> {
    await this.#session.release();
    for (const { tokens, logits } of this.#bound.values()) {
      tokens.release();
      logits.release();
    }
    this.#memory.release();
  }

  /**
   * Runs tokens of one row, with the logits of as many as there is place for.
   *
   * @returns of how many they came
   */
  async #append(row: Row, ids: readonly number[], place: Float32Array, signal: AbortSignal): Promise<number> {
    const { plan, tokens, logits } = this.#neighbours(row.index, 1);
    this.#memory.reach(row.index, row.length + ids.length);
    tokens.tell([{ past: row.length, ids }], place.length / row.vocabularySize);
    if (ids.length === 1) {
      logits.bind(plan);
      await this.#run(plan, 1, signal);
      logits.read();
      return 1;
    }
    // A graph may give as many as there are tokens, whatever is wanted: only the last are kept.
    plan.bindOutput(this.#graph.logits, undefined);
    await this.#run(plan, ids.length, signal);
    return takeLogits(this.#session.library, plan, this.#graph, place);
  }

  /** Runs a token of each of several neighbours; all their logits are valid until the next run. */
  async #appendTogether(
    rows: readonly Row[],
    ids: readonly number[],
    signal: AbortSignal,
  ): Promise<Float32Array> {
    const { plan, tokens, logits } = this.#neighbours(rows[0]!.index, rows.length);
    for (const { index, length } of rows) this.#memory.reach(index, length + 1);
    tokens.tell(
      rows.map(({ length }, i) => ({ past: length, ids: [ids[i]!] })),
      1,
    );
    logits.bind(plan);
    await this.#run(plan, 1, signal);
    logits.read();
    return logits.values;
  }

  /** The first token after a prompt gives back what reading it needed: 20 MB at Qwen2.5-0.5B's shape. */
  async #run(plan: Plan, tokens: number, signal: AbortSignal): Promise<void> {
    const reads = tokens > eachMax;
    const shrinks = this.#roomy && !reads;
    this.#roomy = reads;
    await plan.run(shrinks ? { signal, ...shrinking } : { signal });
  }

  #neighbours(first: number, count: number): Neighbours {
    const key = `${first}+${count}`;
    const known = this.#bound.get(key);
    if (known !== undefined) return known;
    const { inputs, cache, logits } = this.#graph;
    const { library } = this.#session;
    const plan = this.#session.plan(
      [...inputs.map(({ name }) => name), ...cache.map(({ input }) => input)],
      [logits, ...cache.map(({ output }) => output)],
    );
    this.#memory.bind(first, count, plan);
    const neighbours = {
      plan,
      tokens: new NativeTokens(library, inputs, plan),
      logits: new NativeLogits(library, this.#graph, count),
    };
    this.#bound.set(key, neighbours);
    return neighbours;
  }
}

/** One row as a sequence of its own; how it is computed is the schedule's affair. */
class Row implements Sequence, Snapshots {
  readonly index: number;
  readonly contextLength: number;
  /** Of its last token. */
  readonly logits: Float32Array;
  forwardEach?: NonNullable<Sequence['forwardEach']>;
  readonly snapshots = this;
  readonly #schedule: RowSchedule;
  readonly #memory: CacheMemory;
  #length = 0;
  /** Of each token of a short run: one place for all lengths, made when it is first used. */
  #each: Float32Array | null = null;

  constructor(
    schedule: RowSchedule,
    memory: CacheMemory,
    index: number,
    logits: Float32Array,
    contextLength: number,
  ) {
    this.#schedule = schedule;
    this.#memory = memory;
    this.index = index;
    this.logits = logits;
    this.contextLength = contextLength;
  }

  get vocabularySize(): number {
    return this.logits.length;
  }

  get length(): number {
    return this.#length;
  }

  async forward(ids: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    assertRoom(this, ids);
    await this.#schedule.ask(this.index, ids, signal);
    this.#length += ids.length;
    return this.logits;
  }

  /** The graph was found to give the logits of each token. */
  giveEach(): void {
    this.forwardEach = async (ids, signal) => {
      assertRoom(this, ids);
      await this.#schedule.ask(this.index, ids, signal, true);
      this.#length += ids.length;
      return this.eachOf(ids.length);
    };
  }

  eachOf(tokens: number): Float32Array {
    if (tokens > eachMax) throw new Error(`no run gives the logits of ${tokens} tokens`);
    this.#each ??= new Float32Array(eachMax * this.vocabularySize);
    return this.#each.subarray(0, tokens * this.vocabularySize);
  }

  rewind(length: number): void {
    assertRewind(this, length);
    this.#schedule.unexpect(this.index);
    // What is beyond the length is overwritten before the graph reads it.
    this.#length = length;
    this.#memory.rewind(this.index, length);
  }

  reset(): void {
    this.rewind(0);
  }

  get tokenBytes(): number {
    return this.#memory.tokenBytes;
  }

  take(tokens: number): Uint8Array<ArrayBuffer> {
    assertRewind(this, tokens);
    return this.#memory.copyOut(this.index, tokens);
  }

  /** Not while a run of its neighbours takes this row with it, which writes behind its last token. */
  restore(tokens: number, snapshot: Uint8Array): Promise<void> {
    return this.#schedule.between(() => {
      this.#memory.reach(this.index, tokens);
      this.#memory.copyIn(this.index, tokens, snapshot);
      this.#length = tokens;
    });
  }
}
