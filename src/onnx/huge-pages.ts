import { Dispensable } from '../lib/dispensable.ts';
import { type Library, useHugePages, useHugePagesIn } from './ffi/index.ts';

/** Of the process: what a load could not do is not tried again for the KV cache. */
const moves = new Dispensable('memory stays in small pages, which are slower');

/** Moves memory to huge pages beside the event loop, while it is in use, as long as that works. */
export class HugePages {
  readonly #library: Library;
  readonly #root: string;
  readonly #moves: Dispensable;

  /** @param root see `useHugePages` */
  constructor(library: Library, { root = '/', attempts = moves } = {}) {
    this.#library = library;
    this.#root = root;
    this.#moves = attempts;
  }

  /** All that is in use; never rejects. */
  useAll(): Promise<void> {
    return this.#moves.attempt(() => useHugePages(this.#library, this.#root));
  }

  /** A piece of memory, as `useHugePagesIn` does; never rejects. */
  use(memory: Uint8Array, share: number): Promise<void> {
    return this.#moves.attempt(() => useHugePagesIn(this.#library, memory, share, this.#root));
  }
}
