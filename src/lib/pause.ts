/** A pause that can be ended before its time. */
export class Pause {
  #end: () => void = () => undefined;

  /** Resolves after so long, or as soon as `end` is called. */
  take(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Ends the pause that is taken, if there is one. */
  end(): void {
    this.#end();
  }
}
