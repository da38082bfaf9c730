import { CacheMemory } from './cache-memory.ts';
import {
  assertRewind,
  assertRoom,
  type DecoderRows,
  eachMax,
  type Sequence,
  type Snapshots,
} from './decoder.ts';
import { type Library, type NativeSession, NativeValue, type Plan } from './ffi/index.ts';
import { type GraphInterface, readInterface } from './graph-interface.ts';
import { type RowRunner, RowSchedule, type RowToken } from './row-schedule.ts';

/** What a run of one row takes and gives, by its number of tokens. */
interface Step {
  ids: NativeValue;
  /** Of all positions; null where the graph gives the last one's alone, which each row has a place for. */
  logits: NativeValue | null;
}

/** Neighbouring rows that take a token each in one run. */
interface Batch {
  plan: Plan;
  ids: NativeValue;
  /** Each row's length with its new token, less one. */
  seqlens: NativeValue;
  logits: NativeValue;
}

/**
 * Steps that are kept: single tokens, the prefill chunk, and the last chunks of recent prompts. With all
 * logits, one of them is as large as its tokens times the vocabulary.
 */
const stepsKept = 8;

/**
 * Each run reads what is in the KV cache and writes the new tokens behind it. Everything but the number of tokens is
 * bound once, and the cache again each time that it has moved.
 *
 * A run of several rows takes all that lie between the first and the last of them: a row that is not asked
 * for gets a token behind its last one, where nothing is read before it is overwritten.
 */
export class NativeRows implements DecoderRows, RowRunner {
  readonly rows: readonly Row[];
  readonly #session: NativeSession;
  readonly #graph: GraphInterface;
  readonly #memory: CacheMemory;
  /** T − 1 of the row, and the largest T: the lengths that the graph reads. */
  readonly #seqlens: NativeValue;
  readonly #total: NativeValue;
  /** How many of the last positions have logits, where the graph asks. */
  readonly #kept: NativeValue;
  readonly #steps = new Map<number, Step>();
  readonly #batches = new Map<string, Batch>();

  /** @throws naming what the graph's interface lacks */
  constructor(session: NativeSession, contextLength: number, count: number) {
    const { library } = session;
    this.#graph = readInterface(session.inputs, session.outputs);
    this.#session = session;
    this.#memory = new CacheMemory(library, this.#graph.cache, count, contextLength);
    this.#seqlens = new NativeValue(library, 'int32', new Int32Array(1), [1]);
    this.#total = new NativeValue(library, 'int32', new Int32Array(1), [1]);
    this.#kept = new NativeValue(library, 'int64', new BigInt64Array(1), [1]);
    const schedule = new RowSchedule(this);
    this.rows = Array.from({ length: count }, (_, index) => {
      const plan = this.#plan(index, 1, this.#seqlens);
      const { vocabularySize, allLogits, keepsLogits } = this.#graph;
      const value = this.#floats([1, 1, vocabularySize]);
      const each = allLogits || keepsLogits ? new EachLogits(library, vocabularySize) : null;
      return new Row(schedule, this.#memory, index, plan, value, each, contextLength);
    });
  }

  async chunk(index: number, ids: readonly number[], signal: AbortSignal, each = false): Promise<void> {
    const row = this.rows[index]!;
    const total = row.length + ids.length;
    this.#memory.reach(index, total);
    const wanted = each ? row.each!.of(ids.length) : null;
    const step = this.#stepOf(ids.length);
    const tokens = step.ids.data as BigInt64Array;
    for (const [i, id] of ids.entries()) tokens[i] = BigInt(id);
    this.#seqlens.data[0] = total - 1;
    this.#total.data[0] = total;
    this.#kept.data[0] = BigInt(wanted === null ? 1 : ids.length);
    row.plan.bindInput('input_ids', step.ids);
    row.plan.bindOutput('logits', wanted ?? step.logits ?? row.value);
    await row.plan.run({ signal });
    if (wanted === null && step.logits !== null) {
      const logits = step.logits.data as Float32Array;
      row.logits.set(logits.subarray(logits.length - row.vocabularySize));
    }
  }

  async step(tokens: readonly RowToken[], signal: AbortSignal): Promise<void> {
    const indexes = tokens.map(({ row }) => row);
    const first = Math.min(...indexes);
    const rows = this.rows.slice(first, Math.max(...indexes) + 1);
    // A row between them that is full has no place for the token that nobody reads.
    const full = rows.some((row) => row.length === row.contextLength && !indexes.includes(row.index));
    if (tokens.length === 1 || full) {
      for (const { row, id } of tokens) await this.chunk(row, [id], signal);
      return;
    }
    for (const { index, length } of rows) this.#memory.reach(index, length + 1);
    const batch = this.#batchOf(first, rows.length);
    for (const [i, row] of rows.entries()) {
      batch.ids.data[i] = BigInt(tokens.find((token) => token.row === row.index)?.id ?? 0);
      batch.seqlens.data[i] = row.length;
    }
    this.#total.data[0] = Math.max(...rows.map(({ length }) => length)) + 1;
    this.#kept.data[0] = 1n;
    await batch.plan.run({ signal });
    const logits = batch.logits.data as Float32Array;
    for (const { row } of tokens) this.rows[row]!.logits.set(this.#partOf(logits, row - first));
  }

  async dispose(): Promise<void> {
    await this.#session.release();
    for (const { ids, logits } of this.#steps.values()) release(ids, logits);
    for (const { ids, seqlens, logits } of this.#batches.values()) release(ids, seqlens, logits);
    for (const { value, each } of this.rows) {
      release(value);
      each?.release();
    }
    this.#memory.release();
    release(this.#seqlens, this.#total, this.#kept);
  }

  #partOf(logits: Float32Array, row: number): Float32Array {
    const { vocabularySize } = this.#graph;
    return logits.subarray(row * vocabularySize, (row + 1) * vocabularySize);
  }

  /** Everything bound but the tokens and, for a single row, the logits. */
  #plan(first: number, count: number, seqlens: NativeValue): Plan {
    const { keepsLogits, cache } = this.#graph;
    const lengths = ['seqlens_k', 'total_sequence_length', ...(keepsLogits ? ['num_logits_to_keep'] : [])];
    const plan = this.#session.plan(
      ['input_ids', ...lengths, ...cache.map(({ input }) => input)],
      ['logits', ...cache.map(({ output }) => output)],
    );
    if (keepsLogits) plan.bindInput('num_logits_to_keep', this.#kept);
    plan.bindInput('seqlens_k', seqlens);
    plan.bindInput('total_sequence_length', this.#total);
    this.#memory.bind(first, count, plan);
    return plan;
  }

  #stepOf(tokens: number): Step {
    const known = this.#steps.get(tokens);
    this.#steps.delete(tokens);
    const step = known ?? {
      ids: this.#ids([1, tokens]),
      logits:
        this.#graph.allLogits && tokens > 1 ? this.#floats([1, tokens, this.#graph.vocabularySize]) : null,
    };
    // The last of the map is the one that was used last; the first goes.
    this.#steps.set(tokens, step);
    const [oldest] = this.#steps;
    if (this.#steps.size > stepsKept && oldest !== undefined) {
      this.#steps.delete(oldest[0]);
      release(oldest[1].ids, oldest[1].logits);
    }
    return step;
  }

  #batchOf(first: number, count: number): Batch {
    const key = `${first}+${count}`;
    const known = this.#batches.get(key);
    if (known !== undefined) return known;
    const ids = this.#ids([count, 1]);
    const seqlens = new NativeValue(this.#session.library, 'int32', new Int32Array(count), [count]);
    const logits = this.#floats([count, 1, this.#graph.vocabularySize]);
    const plan = this.#plan(first, count, seqlens);
    plan.bindInput('input_ids', ids);
    plan.bindOutput('logits', logits);
    const batch = { plan, ids, seqlens, logits };
    this.#batches.set(key, batch);
    return batch;
  }

  #ids(dims: readonly number[]): NativeValue {
    return new NativeValue(this.#session.library, 'int64', new BigInt64Array(sizeOf(dims)), dims);
  }

  #floats(dims: readonly number[]): NativeValue {
    return new NativeValue(this.#session.library, 'float32', new Float32Array(sizeOf(dims)), dims);
  }
}

/** Where the logits of each token of a short run are: one place for all lengths, made when it is first used. */
class EachLogits {
  readonly #library: Library;
  readonly #vocabularySize: number;
  readonly #values: NativeValue[] = [];

  constructor(library: Library, vocabularySize: number) {
    this.#library = library;
    this.#vocabularySize = vocabularySize;
  }

  of(tokens: number): NativeValue {
    if (this.#values.length === 0) {
      const place = new Float32Array(eachMax * this.#vocabularySize);
      for (let count = 1; count <= eachMax; count++) {
        const data = place.subarray(0, count * this.#vocabularySize);
        this.#values.push(new NativeValue(this.#library, 'float32', data, [1, count, this.#vocabularySize]));
      }
    }
    const value = this.#values[tokens - 1];
    if (value === undefined) throw new Error(`no run gives the logits of ${tokens} tokens`);
    return value;
  }

  release(): void {
    release(...this.#values.splice(0));
  }
}

/** One row as a sequence of its own; how it is computed is the schedule's affair. */
class Row implements Sequence, Snapshots {
  readonly index: number;
  readonly plan: Plan;
  readonly contextLength: number;
  /** Where the logits of its last token are. */
  readonly value: NativeValue;
  /** Null where the graph gives no more than those. */
  readonly each: EachLogits | null;
  readonly forwardEach?: NonNullable<Sequence['forwardEach']>;
  readonly snapshots = this;
  readonly #schedule: RowSchedule;
  readonly #memory: CacheMemory;
  #length = 0;

  constructor(
    schedule: RowSchedule,
    memory: CacheMemory,
    index: number,
    plan: Plan,
    value: NativeValue,
    each: EachLogits | null,
    contextLength: number,
  ) {
    this.#schedule = schedule;
    this.#memory = memory;
    this.index = index;
    this.plan = plan;
    this.value = value;
    this.each = each;
    if (each !== null) this.forwardEach = (ids, signal) => this.#forwardEach(each, ids, signal);
    this.contextLength = contextLength;
  }

  get logits(): Float32Array {
    return this.value.data as Float32Array;
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

  async #forwardEach(
    each: EachLogits,
    ids: readonly number[],
    signal: AbortSignal | undefined,
  ): Promise<Float32Array> {
    assertRoom(this, ids);
    await this.#schedule.ask(this.index, ids, signal, true);
    this.#length += ids.length;
    return each.of(ids.length).data as Float32Array;
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

function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

function release(...values: (NativeValue | null)[]): void {
  for (const value of values) value?.release();
}
