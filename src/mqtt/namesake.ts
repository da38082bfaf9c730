import type { Status } from '../contract/status.ts';
import type { Counters } from '../contract/telemetry.ts';
import type { Logger } from '../lib/logger.ts';
import { type DuplicateSign, DuplicateWatch } from './duplicate-watch.ts';
import type { Ended } from './link.ts';

export interface NamesakeParts {
  device: string;
  boot: string;
  /** `mqtt.duplicate_wait_ms`: who was cut off comes back after so long. */
  wait_ms: number;
  log: Logger;
  counters: Pick<Counters, 'duplicates_detected'>;
  /** What a person should know; null when the other is gone. */
  condition(why: string | null): void;
  /** Says this device's status once more. */
  repeat(): void;
}

/**
 * Another device that has this one's name: noticed by its signs, told to a person, and forgotten when a connection
 * has lasted for twice the wait without a sign.
 */
export class Namesake {
  readonly #parts: NamesakeParts;
  readonly #watch: DuplicateWatch;
  /** What last gave it away; null while there is none, as far as is known. */
  #sign: DuplicateSign | null = null;
  #forgetting: NodeJS.Timeout | undefined;
  #repeating: NodeJS.Timeout | undefined;

  constructor(parts: NamesakeParts) {
    this.#parts = parts;
    this.#watch = new DuplicateWatch(parts.boot);
  }

  /** Whether the two would take the broker away from each other without end. With client ids of their own they do not. */
  get takesTurns(): boolean {
    return this.#sign !== null && this.#sign !== 'beside';
  }

  /** This device's boots before this one are never a sign. */
  remember(earlierBoots: readonly string[]): void {
    this.#watch.remember(earlierBoots);
  }

  /** See `DuplicateWatch.hear`. */
  hear(status: Status, ownBirth: number | null): void {
    const sign = this.#watch.hear(status, ownBirth);
    if (sign !== null) this.#notice(sign);
  }

  connected(): void {
    this.#forgetLater();
  }

  /** @param broker its address, for a person */
  ended(ended: Ended, broker: string): void {
    const sign = this.#watch.ended(ended);
    if (sign !== null) this.#notice(sign, broker);
    // Without a connection there is nothing to be heard of the other.
    clearTimeout(this.#forgetting);
  }

  stop(): void {
    clearTimeout(this.#forgetting);
    this.#stopRepeating();
  }

  #notice(sign: DuplicateSign, broker = ''): void {
    const { log, counters, condition } = this.#parts;
    const why = this.#lineFor(sign, broker);
    if (this.#sign === null) {
      counters.duplicates_detected++;
      log.error({ code: 'duplicate_device', sign }, why);
    }
    this.#sign = sign;
    condition(why);
    this.#forgetLater();
    if (sign === 'beside') this.#repeatWhileThere();
  }

  #lineFor(sign: DuplicateSign, broker: string): string {
    const { device } = this.#parts;
    if (sign === 'short_lived')
      return `${broker} ends every connection at once: another client may use the name ${device}, or its ACL may end those that subscribe under it`;
    const both = sign === 'beside' ? ', and both answer' : '';
    return `another device on this broker is called ${device}${both}: give one of them another name (device, in its configuration)`;
  }

  /** The other hears this device's words, and not its connections: silence would be forgotten. */
  #repeatWhileThere(): void {
    this.#repeating ??= setInterval(() => this.#parts.repeat(), this.#parts.wait_ms);
  }

  #stopRepeating(): void {
    clearInterval(this.#repeating);
    this.#repeating = undefined;
  }

  /** The other would have come back by then. */
  #forgetLater(): void {
    clearTimeout(this.#forgetting);
    if (this.#sign === null) return;
    this.#forgetting = setTimeout(() => {
      this.#sign = null;
      this.#stopRepeating();
      this.#parts.log.info('the other device with this name is gone');
      this.#parts.condition(null);
    }, 2 * this.#parts.wait_ms);
  }
}
