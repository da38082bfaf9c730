import type { TokenBatch } from '../contract/result.ts';

export interface TokenStreamOptions {
  id: string;
  attempt: number;
  /** Publishes one batch; false says that it was dropped, for want of a connection. */
  send(batch: TokenBatch): boolean;
}

/** People read at this pace; a message per token would cost a small board up to half its CPU. */
const flushMs = 75;
const flushChars = 512;

/** Batches the text of one attempt: the first piece at once, then what has gathered every `flushMs`. */
export class TokenStream {
  readonly #options: TokenStreamOptions;
  #pending = '';
  #seq = 0;
  #timer: NodeJS.Timeout | null = null;
  #dropped = 0;

  constructor(options: TokenStreamOptions) {
    this.#options = options;
  }

  /** Batches that found no connection. The result holds the whole text, so nothing else is lost. */
  get dropped(): number {
    return this.#dropped;
  }

  push(text: string): void {
    if (text === '') return;
    this.#pending += text;
    if (this.#seq === 0 || this.#pending.length >= flushChars) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), flushMs);
  }

  /** Sends what is pending; the end of an attempt calls it, so that no timer outlives the request. */
  flush(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#pending === '') return;
    const { id, attempt } = this.#options;
    if (!this.#options.send({ id, attempt, seq: this.#seq++, text: this.#pending })) this.#dropped++;
    this.#pending = '';
  }
}
