interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

/** Those who wait for one thing: it comes for all of them at once, or fails for all. */
export class Waiters {
  readonly #waiting = new Set<Waiter>();

  /** Resolves or rejects as `settle` says, or rejects with what `ended` gives when the signal is aborted. */
  wait(signal: AbortSignal, ended: () => Error): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { resolve, reject };
    const onAbort = () => reject(ended());
    this.#waiting.add(waiter);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
    return promise.finally(() => {
      this.#waiting.delete(waiter);
      signal.removeEventListener('abort', onAbort);
    });
  }

  /** @param error why it will not come; null where it has */
  settle(error: Error | null): void {
    for (const waiter of this.#waiting) {
      if (error === null) waiter.resolve();
      else waiter.reject(error);
    }
    this.#waiting.clear();
  }
}
