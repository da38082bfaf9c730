import { Dispensable } from '../lib/dispensable.ts';
import { SlmdError } from '../lib/errors.ts';
import { megabytes } from '../lib/megabytes.ts';
import { freeMemoryBytes } from '../lib/memory.ts';
import { alignmentBytes, type CachedTensor, CacheLayout, headTokenBytes, rowBytes } from './cache-layout.ts';
import { type Library, NativeValue, type Plan, pageGiver } from './ffi/index.ts';
import { HugePages } from './huge-pages.ts';

/** Rows that follow each other, and the plan that runs them. */
interface Binding {
  first: number;
  count: number;
  plan: Pick<Plan, 'bindInput' | 'bindOutput'>;
}

export interface CacheMemoryOptions {
  pages?: HugePages;
  /** Bytes of memory that are free. */
  free?: () => number;
}

/** Tokens that there is room for at first: a command and its answer have no more. */
const capacityMin = 256;
/** Times as much room for a row that has outgrown it: less is moved more often, and more has larger gaps. */
const growth = 1.5;
/** Of the whole context: what comes so near goes all the way. */
const nearlyAll = 0.75;
/** Of a huge page's pages so many must be in memory already: what is added is a third of that at most. */
const presentMin = 0.75;
/** Of the memory that is free, at most so much is added: the rest is for whatever else the board does. */
const addedShare = 0.05;
/** Pages that are full by now are looked for after so many more tokens, or such a share of those of the last look. */
const lookTokens = 128;
const lookShare = 0.125;

/**
 * The KV cache in one piece of memory, with room for the whole context of each row from the beginning.
 *
 * Every tensor is [rows, heads, capacity, headSize], so a row of it is in one piece, and so are rows that
 * follow each other. The kernel gives pages when they are first written: what no sequence ever reached
 * costs address space only.
 *
 * Capacity is what the longest row needs, and grows with it, so that heads lie close together and the pages between
 * them are in use; full ones are moved to huge pages. Over a sequence twice the bytes move that it has in the end.
 * Where memory is short nothing is added to what tokens take: no page is filled up, and what a move leaves behind is
 * given back as it goes.
 *
 * INVARIANTS
 * - `reach` and `copyIn` never while a run uses the memory
 * - where a head is goes up only, but when no row has tokens
 */
export class CacheMemory {
  readonly #library: Library;
  readonly #pages: HugePages;
  readonly #free: () => number;
  readonly #giving = new Dispensable('what the KV cache left behind as it grew stays in memory');
  #giver: ReturnType<typeof pageGiver> | undefined;
  readonly #cache: readonly CachedTensor[];
  readonly #most: CacheLayout;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #bindings: Binding[] = [];
  readonly #bound: NativeValue[] = [];
  /** Tokens of each row. */
  readonly #held: number[];
  #layout: CacheLayout;
  /** Tokens of all rows at the last look for full pages. */
  #looked = 0;
  #moving = false;

  /** @throws {SlmdError<'out_of_memory'>} where not even addresses are left for so many tokens */
  constructor(
    library: Library,
    cache: readonly CachedTensor[],
    rows: number,
    contextLength: number,
    { pages = new HugePages(library), free = freeMemoryBytes }: CacheMemoryOptions = {},
  ) {
    this.#library = library;
    this.#pages = pages;
    this.#free = free;
    this.#cache = cache;
    this.#most = new CacheLayout(cache, rows, contextLength);
    const buffer = reserve(alignmentBytes + this.#most.bytes, contextLength);
    const address = Number(library.koffi.address(new Uint8Array(buffer)) % BigInt(alignmentBytes));
    this.#bytes = new Uint8Array(buffer, (alignmentBytes - address) % alignmentBytes, this.#most.bytes);
    this.#held = Array(rows).fill(0);
    this.#layout = new CacheLayout(cache, 1, Math.min(capacityMin, contextLength));
  }

  /** Makes room for a row of so many tokens, which are written next. */
  reach(row: number, tokens: number): void {
    const { rows, capacity } = this.#roomFor(row, tokens);
    if (rows !== this.#layout.rows || capacity !== this.#layout.capacity)
      this.#move(new CacheLayout(this.#cache, rows, capacity));
    this.#useHugePages();
    this.#held[row] = Math.max(this.#held[row]!, tokens);
  }

  /** A row has no more than its first tokens. */
  rewind(row: number, tokens: number): void {
    this.#held[row] = Math.min(this.#held[row]!, tokens);
  }

  /**
   * Binds every cached tensor to a plan that runs `count` rows from `first` on: as soon as there is room for these
   * rows, and again each time they have moved.
   */
  bind(first: number, count: number, plan: Binding['plan']): void {
    const binding = { first, count, plan };
    this.#bindings.push(binding);
    this.#bind(binding);
  }

  /** Of one token, over all cached tensors. */
  get tokenBytes(): number {
    return rowBytes(this.#cache, 1);
  }

  /** What the first tokens of a row have left: [tensor, head, token, headSize]. */
  copyOut(row: number, tokens: number): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(tokens * this.tokenBytes);
    let offset = 0;
    for (const part of this.#partsOf(row, tokens)) {
      copy.set(part, offset);
      offset += part.length;
    }
    return copy;
  }

  /** Puts back what `copyOut` has given; there is room for it. */
  copyIn(row: number, tokens: number, copy: Uint8Array): void {
    let offset = 0;
    for (const part of this.#partsOf(row, tokens)) {
      part.set(copy.subarray(offset, offset + part.length));
      offset += part.length;
    }
  }

  release(): void {
    for (const value of this.#bound.splice(0)) value.release();
  }

  #bind({ first, count, plan }: Binding): void {
    const { rows, capacity } = this.#layout;
    if (first + count > rows) return;
    for (const [tensor, entry] of this.#cache.entries()) {
      const { input, output, heads, headSize, type } = entry;
      const start = this.#layout.placeOf(tensor, first, 0);
      const data = this.#bytes.subarray(start, start + count * rowBytes([entry], capacity));
      const value = new NativeValue(this.#library, type, data, [count, heads, capacity, headSize]);
      this.#bound.push(value);
      plan.bindInput(input, value);
      plan.bindOutput(output, value);
    }
  }

  /** No less than there is, but when no row has tokens. */
  #roomFor(row: number, tokens: number): { rows: number; capacity: number } {
    const most = this.#most.capacity;
    const empty = this.#held.every((held) => held === 0);
    let { rows, capacity } = empty ? { rows: 1, capacity: capacityMin } : this.#layout;
    while (capacity < tokens) capacity = Math.ceil(capacity * growth);
    if (capacity > nearlyAll * most) capacity = most;
    return { rows: Math.max(rows, row + 1), capacity };
  }

  /** Each head of each row goes to its new place; from the last to the first, because all go up. */
  #move(layout: CacheLayout): void {
    this.release();
    const short = !this.#spares(layout.bytes - this.#heldBytes);
    let above = Math.max(layout.bytes, this.#layout.bytes);
    for (const [tensor, entry] of [...this.#cache.entries()].reverse())
      for (let row = this.#layout.rows - 1; row >= 0; row--)
        for (let head = entry.heads - 1; head >= 0; head--) {
          const bytes = this.#held[row]! * headTokenBytes(entry);
          const start = this.#layout.placeOf(tensor, row, head);
          const place = layout.placeOf(tensor, row, head);
          this.#bytes.copyWithin(place, start, start + bytes);
          // What has not moved yet lies below.
          if (short) this.#giveBack(place + bytes, above);
          above = place;
        }
    this.#layout = layout;
    for (const binding of this.#bindings) this.#bind(binding);
  }

  /** Of what has been written by now; beside the event loop, while runs use it. */
  #useHugePages(): void {
    const tokens = this.#held.reduce((sum, held) => sum + held, 0);
    if (this.#moving || tokens < this.#looked + Math.max(lookTokens, lookShare * this.#looked)) return;
    const { bytes } = this.#layout;
    if (!this.#spares((1 - presentMin) * bytes)) return;
    this.#looked = tokens;
    this.#moving = true;
    const memory = this.#bytes.subarray(0, bytes);
    void this.#pages.use(memory, presentMin).then(() => {
      this.#moving = false;
    });
  }

  /** Whether so much may be added to what tokens take. */
  #spares(bytes: number): boolean {
    return bytes <= addedShare * this.#free();
  }

  get #heldBytes(): number {
    return this.#held.reduce((sum, held) => sum + held, 0) * this.tokenBytes;
  }

  /** What nobody reads before it is written. */
  #giveBack(start: number, end: number): void {
    void this.#giving.attempt(() => {
      this.#giver ??= pageGiver(this.#library);
      this.#giver(this.#bytes.subarray(start, end));
    });
  }

  *#partsOf(row: number, tokens: number): Iterable<Uint8Array> {
    for (const [tensor, entry] of this.#cache.entries())
      for (let head = 0; head < entry.heads; head++) {
        const start = this.#layout.placeOf(tensor, row, head);
        yield this.#bytes.subarray(start, start + tokens * headTokenBytes(entry));
      }
  }
}

function reserve(bytes: number, contextLength: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (thrown) {
    throw new SlmdError(
      'out_of_memory',
      `there is no room for a KV cache of ${contextLength} tokens (${megabytes(bytes)}): lower engine.context_length_max or engine.rows`,
      { cause: thrown },
    );
  }
}
