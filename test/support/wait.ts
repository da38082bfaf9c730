/** Generous: a test that passes does not wait for it, and a busy machine is no failure. */
export const patienceMs = 120_000;

/** Resolves with the value, or rejects with a sentence where it has not come in time. */
export async function inTime<T>(value: Promise<T>, what: string, ms = patienceMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms);
  });
  return Promise.race([value, limit]).finally(() => clearTimeout(timer));
}

/** Everything that is due by now has happened. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface Looking {
  /** Values before this index do not count; see `Heard.mark`. */
  since?: number;
  ms?: number;
}

/** Everything that was heard, in order and kept for good: a test that asks late finds it too. */
export class Heard<T> {
  readonly all: T[] = [];
  readonly #lookers = new Set<() => void>();
  readonly #listeners: ((value: T) => void)[] = [];

  /** Tells of each value as it comes, and at once of those that have come. */
  each(listener: (value: T) => void): void {
    this.all.forEach(listener);
    this.#listeners.push(listener);
  }

  push(value: T): void {
    this.all.push(value);
    for (const listener of this.#listeners) listener(value);
    for (const look of this.#lookers) look();
  }

  /** Where the future begins: what is heard from now on. */
  get mark(): number {
    return this.all.length;
  }

  /** The first value, past or to come, that a predicate accepts. */
  async find(accepts: (value: T) => boolean, what: string, looking?: Looking): Promise<T> {
    const [found] = await this.atLeast(1, accepts, what, looking);
    return found as T;
  }

  /** All accepted values, as soon as there are so many. */
  async atLeast(
    count: number,
    accepts: (value: T) => boolean,
    what: string,
    { since = 0, ms = patienceMs }: Looking = {},
  ): Promise<T[]> {
    const { promise, resolve } = Promise.withResolvers<T[]>();
    const found: T[] = [];
    let next = since;
    const look = () => {
      for (; next < this.all.length; next++) {
        const value = this.all[next] as T;
        if (accepts(value)) found.push(value);
      }
      if (found.length >= count) resolve(found);
    };
    this.#lookers.add(look);
    look();
    return inTime(promise, what, ms).finally(() => this.#lookers.delete(look));
  }
}

/** Looks again and again until there is something: for what nobody announces, such as a process. */
export async function until<T>(look: () => T | undefined, what: string, ms = patienceMs): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
