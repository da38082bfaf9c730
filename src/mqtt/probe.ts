import { type Connection, reasonCodes } from './client.ts';

/** Longer than a slow broker takes for its own echo. */
const echoTimeoutMs = 5000;

/**
 * Asks the broker for an echo: whether what this device publishes under its own name also arrives.
 *
 * An ACL may drop in silence: MQTT 3.1.1 has no way to say no to a publish, and brokers grant
 * subscriptions that they then filter. Better found at the start than at the first lost result.
 */
export class Probe {
  readonly #topic: string;
  readonly #nonce: string;
  #heard: (() => void) | null = null;

  constructor(topic: string, nonce: string) {
    this.#topic = topic;
    this.#nonce = nonce;
  }

  /** Resolves with null where the echo came, else with a line that says what is wrong. */
  async run(connection: Connection): Promise<string | null> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#heard = () => resolve(true);
    const timer = setTimeout(() => resolve(false), echoTimeoutMs);
    void connection.closed.then(() => resolve(true)); // Not the ACL's fault.
    try {
      const code = await connection.publish(this.#topic, this.#nonce, { qos: 1, expiry_s: 10 });
      if (code >= reasonCodes.failure)
        return `the broker refuses publishing to ${this.#topic} (code ${code}): check its ACL`;
      return (await promise) ? null : `the broker does not deliver ${this.#topic}: check its ACL`;
    } catch {
      return null; // The connection ended; the next one is probed again.
    } finally {
      clearTimeout(timer);
      this.#heard = null;
    }
  }

  /** A message on the probe's topic has arrived. */
  hear(payload: Buffer): void {
    if (payload.toString() === this.#nonce) this.#heard?.();
  }
}
