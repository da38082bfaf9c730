import type { Topics } from '../contract/topics.ts';
import { backoffMs } from '../lib/backoff.ts';
import type { Logger } from '../lib/logger.ts';
import { type Connection, reasonCodes } from './client.ts';
import { Probe } from './probe.ts';
import { Refusals } from './refusals.ts';

export interface AccessParts {
  topics: Topics;
  /** What comes before every topic of this device's own. */
  own_prefix: string;
  /** Names this process to its own probe. */
  boot: string;
  log: Logger;
  /** A condition of the status: a line for a person, or null where nothing is wrong any more. */
  condition(name: 'subscriptions' | 'probe' | 'acl', why: string | null): void;
  /** Says once more what the broker should retain: some of it was refused. */
  sayAgain(): void;
}

/** What was refused is tried again so often: somebody may have mended the broker's ACL. */
const recheckBounds = { min_ms: 1000, max_ms: 60_000 };

/**
 * What the broker lets this device hear and say. A device that is not allowed everything is still there, and
 * its status says what is missing, until the broker allows it.
 *
 * INVARIANTS: each refusal is logged once, and so is its end; while anything is refused, one more look at
 * it is due; nothing of a connection that is over counts.
 */
export class Access {
  readonly #parts: AccessParts;
  readonly #probe: Probe;
  readonly #refusals: Refusals;
  readonly #findings = new Map<string, string>();
  /** What the broker does not let this device hear. */
  #unheard: string[] = [];
  #connection: Connection | null = null;
  #rechecking: NodeJS.Timeout | null = null;

  constructor(parts: AccessParts) {
    this.#parts = parts;
    this.#probe = new Probe(parts.topics.probe, parts.boot);
    this.#refusals = new Refusals(parts.topics);
  }

  /** Another connection may be allowed more than the one before. @throws where it ends first */
  async begin(connection: Connection): Promise<void> {
    const { status, probe, prompt, cancel, ack } = this.#parts.topics;
    this.#connection = connection;
    this.#refusals.clear();
    this.#sayRefusals();
    await this.#subscribe(connection, [status, probe, prompt, cancel, ack]);
  }

  /** Whether what this device says also arrives; and again, for as long as anything is refused. */
  async check(connection: Connection, times = 0): Promise<void> {
    const finding = await this.#probe.run(connection);
    if (connection !== this.#connection) return;
    this.#found('probe', finding);
    this.#recheckLater(connection, times);
  }

  end(): void {
    this.#connection = null;
    if (this.#rechecking !== null) clearTimeout(this.#rechecking);
    this.#rechecking = null;
  }

  /** A message on the probe's topic. */
  hear(payload: Buffer): void {
    this.#probe.hear(payload);
  }

  /** What the broker says of a publish. */
  answered(topic: string, code: number): void {
    if (code >= reasonCodes.failure) this.#onRefused(topic, code);
    else this.#onTaken(topic);
  }

  #onRefused(topic: string, code: number): void {
    const news = this.#refusals.refused(topic, (place) =>
      code === reasonCodes.packetTooLarge
        ? `the broker's packets are too small for ${place}: raise its limit`
        : `the broker refuses publishing to ${place} (code ${code}): check its ACL`,
    );
    if (!news) return;
    this.#parts.log.error({ topic, code }, 'the broker refuses a publish');
    this.#sayRefusals();
    if (this.#connection !== null && this.#rechecking === null) this.#recheckLater(this.#connection, 0);
  }

  #onTaken(topic: string): void {
    if (!this.#refusals.taken(topic)) return;
    this.#parts.log.info({ topic }, 'the broker takes what it has refused');
    this.#sayRefusals();
  }

  async #subscribe(connection: Connection, topics: readonly string[]): Promise<void> {
    const refused = await connection.subscribe(topics);
    this.#unheard = [...refused.keys()];
    const list = [...refused].map(([topic, code]) => `${topic} (code ${code})`).join(', ');
    this.#found(
      'subscriptions',
      list === '' ? null : `the broker refuses subscribing to ${list}: check its ACL`,
    );
  }

  #recheckLater(connection: Connection, times: number): void {
    if (this.#rechecking !== null) clearTimeout(this.#rechecking);
    this.#rechecking = null;
    if (this.#findings.size === 0 && this.#refused === null) return;
    this.#rechecking = setTimeout(
      // A connection that ends meanwhile is none of this one's business: the next is looked at anew.
      () => void this.#recheck(connection, times).catch(() => undefined),
      backoffMs(times, recheckBounds, Math.random()),
    );
  }

  async #recheck(connection: Connection, times: number): Promise<void> {
    if (this.#unheard.length > 0) await this.#subscribe(connection, this.#unheard);
    if (this.#refused !== null) this.#parts.sayAgain();
    await this.check(connection, times + 1);
  }

  #found(name: 'subscriptions' | 'probe', finding: string | null): void {
    const { log, condition } = this.#parts;
    const known = this.#findings.get(name);
    if (finding === null && known !== undefined)
      log.info({ was: known }, 'the broker allows what it refused');
    if (finding !== null && finding !== known) log.error(finding);
    if (finding === null) this.#findings.delete(name);
    else this.#findings.set(name, finding);
    condition(name, finding);
  }

  #sayRefusals(): void {
    this.#parts.condition('acl', this.#refused);
  }

  /** Somebody else's topic that the ACL keeps from this device says nothing about the device. */
  get #refused(): string | null {
    return this.#refusals.finding(this.#parts.own_prefix);
  }
}
