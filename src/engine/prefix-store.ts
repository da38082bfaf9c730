import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../lib/errors.ts';
import { freeMemoryBytes } from '../lib/memory.ts';
import { reusableTokens, sharedTokens } from './prefill.ts';
import { type Prefix, prefixBytes, readIds, readPrefix, writePrefix } from './prefix-file.ts';

export interface PrefixStoreOptions {
  dir: string;
  /** What all files together may take of the disk; 0 keeps none. */
  bytes_max: number;
  /** Whatever the content of a KV cache follows from, besides the tokens. */
  facts: readonly unknown[];
  /** Of a token, in the KV cache. */
  token_bytes: number;
  /** Prefixes that are longer do not fit. */
  context_length: number;
  /** A line for the log; it quotes nothing of a prompt. */
  say(line: string): void;
  /** Bytes of memory that are free. */
  memory_free?: () => number;
}

interface Stored {
  path: string;
  ids: readonly number[];
  bytes: number;
  /** When it was last of use. */
  used_at: number;
}

const suffix = '.prefix';
/** A device has a few kinds of prompts; more are clutter. */
const countMax = 16;
/** Fewer tokens are computed sooner than read. */
const tokensMin = 64;
/** Of the memory that is free, at most so much is taken for a copy of a prefix: a cache is no reason to run out. */
const copyShare = 0.25;

/**
 * Beginnings of prompts on the disk, with what they left in the KV cache, so that a restart does not cost
 * them again. A file is used only where model, program, library and processor are those that wrote it, and
 * every bit is as it was written; any other is removed. It is a cache: whatever goes wrong with it is one
 * line in the log.
 *
 * INVARIANTS: one file is written at a time; a file has its name when it is whole.
 */
export class PrefixStore {
  readonly #options: PrefixStoreOptions;
  readonly #facts: Buffer;
  #stored: Stored[] = [];
  #writing: Promise<void> | null = null;
  #broken = false;

  constructor(options: PrefixStoreOptions) {
    this.#options = options;
    this.#facts = createHash('sha256').update(JSON.stringify(options.facts)).digest();
  }

  /** Reads which prefixes there are, and nothing more: they are loaded when a prompt begins with one. */
  async open(): Promise<void> {
    const { dir, bytes_max, say } = this.#options;
    try {
      if (bytes_max > 0) await mkdir(dir, { recursive: true, mode: 0o700 });
      let dropped = 0;
      for (const name of existsSync(dir) ? await readdir(dir) : []) {
        if (!name.endsWith(suffix) && !name.endsWith(`${suffix}.part`)) continue;
        const stored = await this.#look(join(dir, name));
        if (stored !== null) this.#stored.push(stored);
        else dropped++;
      }
      if (dropped > 0 && bytes_max > 0)
        say(`${dropped} stored prefix(es) of another model or program, or damaged, are removed`);
      await this.#makeRoom(0);
    } catch (thrown) {
      this.#giveUp(thrown);
    }
  }

  /** How many tokens of a prompt are stored. */
  reusable(prompt: readonly number[]): number {
    return Math.max(0, ...this.#stored.map(({ ids }) => reusableTokens(ids, prompt)));
  }

  /** The stored prefix that holds most of a prompt; null where it is damaged, and then it is gone. */
  async load(prompt: readonly number[]): Promise<Prefix | null> {
    const most = this.reusable(prompt);
    const stored = this.#stored.find(({ ids }) => most > 0 && reusableTokens(ids, prompt) === most);
    if (stored === undefined || !this.#mayCopy(stored.bytes)) return null;
    const prefix = await readPrefix(stored.path, this.#facts, this.#options.token_bytes).catch(() => null);
    if (prefix === null) {
      this.#options.say('a stored prefix is damaged and is removed');
      await this.#remove(stored);
      return null;
    }
    stored.used_at = Date.now();
    await utimes(stored.path, new Date(), new Date()).catch(() => undefined);
    return prefix;
  }

  /** Whether this beginning is worth a file: it is long enough, and no file has it. */
  wants(ids: readonly number[]): boolean {
    const bytes = this.#bytesOf(ids.length);
    const fits = bytes <= this.#options.bytes_max && this.#mayCopy(bytes);
    const known = this.#stored.some((stored) => sharedTokens(stored.ids, ids) === ids.length);
    return !this.#broken && this.#writing === null && ids.length >= tokensMin && fits && !known;
  }

  /**
   * Writes a prefix that is wanted; answers go on meanwhile.
   *
   * @param take copies what the tokens have left; called at once
   */
  save(ids: readonly number[], take: () => Prefix['snapshot']): void {
    let snapshot: Prefix['snapshot'];
    try {
      snapshot = take();
    } catch (thrown) {
      this.#giveUp(thrown);
      return;
    }
    this.#writing = this.#write({ ids, snapshot })
      .catch((thrown: unknown) => this.#giveUp(thrown))
      .finally(() => {
        this.#writing = null;
      });
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await this.#writing;
  }

  async #write(prefix: Prefix): Promise<void> {
    const bytes = this.#bytesOf(prefix.ids.length);
    // A beginning of this one is of no more use.
    for (const stored of this.#stored.filter(({ ids }) => sharedTokens(ids, prefix.ids) === ids.length))
      await this.#remove(stored);
    await this.#makeRoom(bytes);
    const path = this.#pathOf(prefix.ids);
    await rm(`${path}.part`, { force: true });
    await writePrefix(`${path}.part`, this.#facts, prefix);
    await rename(`${path}.part`, path);
    this.#stored.push({ path, ids: prefix.ids, bytes, used_at: Date.now() });
  }

  /** What a file is; null for one that cannot be used, which is removed. */
  async #look(path: string): Promise<Stored | null> {
    const { token_bytes, context_length } = this.#options;
    const whole = path.endsWith(suffix);
    const ids = whole ? await readIds(path, this.#facts, token_bytes).catch(() => null) : null;
    if (ids !== null && ids.length < context_length && path === this.#pathOf(ids)) {
      const { size, mtimeMs } = await stat(path);
      return { path, ids, bytes: size, used_at: mtimeMs };
    }
    await rm(path, { force: true });
    return null;
  }

  /** Those that were not used for longest go. */
  async #makeRoom(bytes: number): Promise<void> {
    const { bytes_max } = this.#options;
    const room = bytes === 0 ? 0 : 1;
    for (;;) {
      const total = this.#stored.reduce((sum, stored) => sum + stored.bytes, bytes);
      const [oldest] = this.#stored.toSorted((a, b) => a.used_at - b.used_at);
      if (oldest === undefined || (total <= bytes_max && this.#stored.length + room <= countMax)) return;
      await this.#remove(oldest);
    }
  }

  async #remove(stored: Stored): Promise<void> {
    this.#stored = this.#stored.filter((other) => other !== stored);
    await rm(stored.path, { force: true });
  }

  /** The name says which tokens are in a file, and not what they are. */
  #pathOf(ids: readonly number[]): string {
    const name = createHash('sha256').update(this.#facts).update(Int32Array.from(ids)).digest('hex');
    return join(this.#options.dir, `${name.slice(0, 32)}${suffix}`);
  }

  #mayCopy(bytes: number): boolean {
    const { memory_free = freeMemoryBytes } = this.#options;
    return bytes <= copyShare * memory_free();
  }

  #bytesOf(tokens: number): number {
    return prefixBytes(tokens, this.#options.token_bytes);
  }

  #giveUp(thrown: unknown): void {
    this.#broken = true;
    this.#options.say(`prefixes are not kept in ${this.#options.dir}: ${messageOf(thrown)}`);
  }
}
