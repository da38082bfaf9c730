import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelSource, Trust, VariantKind } from '../ipc/messages.ts';
import { messageOf } from '../lib/errors.ts';
import { pointerFile, readPointer } from './pointer.ts';
import { shippedName } from './store.ts';

export interface ModelChoiceOptions {
  /** `model.dir`: the one model, whatever the store says. */
  dir: string | null;
  store: string;
  trust: Trust | null;
  /** `model.variant`: of several graphs of one model, that which keeps its weights so. */
  variant: VariantKind;
  /** It came with the program, and is trusted as the program is. */
  shipped: string;
}

interface Candidate extends ModelSource {
  name: string;
}

/** Looking at a file's time costs nothing; whoever activates a model waits for its loading anyway. */
const lookMs = 2000;

/**
 * Which model a device serves: the active one of its store; where that cannot be loaded, the one that was
 * active before, and in the end the one that ships. The store is read and never written.
 */
export class ModelChoice {
  readonly #options: ModelChoiceOptions;
  #candidates: Candidate[];
  #failures: string[] = [];
  /** Why the store says nothing. */
  #unreadable: string | null = null;
  /** Which pointer file was read last: each is a new file, in the old one's place. */
  #seen: string;
  #looking: NodeJS.Timeout | null = null;

  constructor(options: ModelChoiceOptions) {
    this.#options = options;
    this.#seen = this.#pointerId();
    this.#candidates = this.#read();
  }

  get source(): ModelSource {
    const { dir, trust } = this.#current;
    return { dir, trust, variant_kind: this.#options.variant };
  }

  /** What a person should know of the choice; null where it is the one that was asked for. */
  get finding(): string | null {
    if (this.#unreadable !== null) return this.#unreadable;
    const [first] = this.#failures;
    return first === undefined ? null : `${first}; ${this.#current.name} answers instead`;
  }

  /** The current model cannot be loaded: the next one, or null where there is none. */
  failed(why: string): ModelSource | null {
    if (this.#candidates.length < 2) return null;
    this.#failures.push(`the model ${this.#current.name} cannot be loaded (${why})`);
    this.#candidates.shift();
    return this.source;
  }

  /** @param changed told when a model was activated, or activated again */
  start(changed: () => void): void {
    if (this.#options.dir !== null || this.#looking !== null) return;
    const look = () => {
      const id = this.#pointerId();
      if (id === this.#seen) return;
      this.#seen = id;
      this.#candidates = this.#read();
      this.#failures = [];
      changed();
    };
    this.#looking = setInterval(look, lookMs).unref();
  }

  stop(): void {
    if (this.#looking !== null) clearInterval(this.#looking);
    this.#looking = null;
  }

  get #current(): Candidate {
    const [current] = this.#candidates;
    if (current === undefined) throw new Error('there is always a model to choose');
    return current;
  }

  /** Taken before the file is read: what is activated meanwhile is seen at the next look. */
  #pointerId(): string {
    try {
      const { ino, mtimeMs } = statSync(join(this.#options.store, pointerFile));
      return `${ino} ${mtimeMs}`;
    } catch {
      return 'none';
    }
  }

  #read(): Candidate[] {
    const { dir, store, trust, shipped } = this.#options;
    if (dir !== null) return [{ name: dir, dir, trust }];
    const names = new Set([...this.#names(), null]);
    return [...names].map((name) =>
      name === null
        ? { name: shippedName, dir: shipped, trust: null }
        : { name, dir: join(store, name), trust },
    );
  }

  #names(): (string | null)[] {
    try {
      const { active, history } = readPointer(this.#options.store);
      this.#unreadable = null;
      return [active, ...history];
    } catch (error) {
      this.#unreadable = messageOf(error);
      return [];
    }
  }
}
