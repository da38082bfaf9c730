import type { Ended } from './link.ts';

/** Where the broker is: one address, or several where it is a cluster. */
export class BrokerAddresses {
  readonly #urls: readonly string[];
  #index = 0;

  constructor({ url, fallback_urls }: { url: string; fallback_urls: readonly string[] }) {
    this.#urls = [url, ...fallback_urls];
  }

  /** What the next connection is made to. */
  get current(): string {
    return this.#urls[this.#index] as string;
  }

  get count(): number {
    return this.#urls.length;
  }

  /**
   * An address that could not be reached gives way to the next. One whose connection ended is tried once
   * more, and so is one that only does not speak this version of MQTT: the broker is there.
   */
  ended({ trouble, lasted_ms }: Ended): void {
    if (lasted_ms === null && trouble.code !== 'protocol') this.#index = (this.#index + 1) % this.count;
  }
}
