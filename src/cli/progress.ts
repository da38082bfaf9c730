/**
 * A progress bar on stderr, drawn in place at a terminal; elsewhere a line at each tenth.
 *
 * `report(done, total)` may be called as often as one likes; what is drawn changes ten times a second.
 */
export class Progress {
  readonly #label: string;
  #drawnAt = 0;
  #tenths = 0;

  constructor(label: string) {
    this.#label = label;
  }

  report(done: number, total: number): void {
    const fraction = total === 0 ? 1 : Math.min(1, done / total);
    if (!process.stderr.isTTY) {
      if (Math.floor(fraction * 10) <= this.#tenths) return;
      this.#tenths = Math.floor(fraction * 10);
      process.stderr.write(`${this.#label} ${this.#tenths * 10} %\n`);
      return;
    }
    const now = performance.now();
    if (fraction < 1 && now - this.#drawnAt < 100) return;
    this.#drawnAt = now;
    const filled = Math.round(fraction * barColumns);
    const bar = '█'.repeat(filled) + '░'.repeat(barColumns - filled);
    process.stderr.write(`\r${this.#label} ${bar} ${String(Math.floor(fraction * 100)).padStart(3)} %`);
  }

  /** Ends the line that was drawn in place. */
  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\n');
  }
}

/** Progress of one step after another, each with a bar of its own. */
export class Steps {
  #label = '';
  #bar: Progress | null = null;

  report(label: string, done: number, total: number): void {
    if (label !== this.#label) this.end();
    this.#label = label;
    this.#bar ??= new Progress(label);
    this.#bar.report(done, total);
  }

  end(): void {
    this.#bar?.end();
    this.#bar = null;
  }
}

const barColumns = 30;
