import { type BackoffBounds, backoffMs } from '../lib/backoff.ts';
import { type Connection, payloadBytesMax, reasonCodes } from './client.ts';

/** A message that must reach the broker: it waits here until a PUBACK says so. */
export interface Parcel {
  topic: string;
  payload: string;
  retain: boolean;
  correlation?: Buffer | null;
  expiry_s?: number;
  user_properties?: Record<string, string>;
  /** Goes with the connection: what it answers was not acknowledged, and comes again on the next. */
  fleeting?: boolean;
  /** A broker that refuses it has the last word; what is neither this nor fleeting is offered again. */
  optional?: boolean;
  /** The broker has it, for good, or has refused what is optional. */
  delivered(): void;
  /** What goes instead where the broker does not take `payload`; null where it does not say how much it takes. */
  smaller(bytesMax: number | null): string;
}

export interface OutboxEvents {
  /** The broker has it, or said no: an ACL, a quota, a topic it does not like. */
  answered(topic: string, reasonCode: number): void;
}

/** Publishes under way at once; the broker may allow fewer. */
const windowMax = 8;
/** A copy that nobody was subscribed to is sent again after so long, and twice that, and so on. */
const unheard = { min_ms: 1000, max_ms: 30_000 };
/** After this many times nobody will: the result topic still has the result. */
const unheardMax = 6;
/** What a broker refused is offered again after so long: somebody may have mended its ACL. */
const refused = { min_ms: 1000, max_ms: 60_000 };
/** A broker of MQTT 3.1.1 has no other way to say that a packet is too large than to end the connection. */
const endingsMax = 3;

/**
 * Delivers parcels at least once, in the order in which they came, across connections.
 *
 * INVARIANTS: a parcel is under way on at most one connection; it leaves only by a PUBACK, or, where it
 * is fleeting, with its connection; a connection that ends puts what else was under way back in its place.
 * What was under way then may be the reason, so it goes alone from there on, and after `endingsMax`
 * endings is made smaller.
 */
export class Outbox {
  readonly #events: OutboxEvents;
  #waiting: Parcel[] = [];
  readonly #underWay = new Set<Parcel>();
  /** How many connections ended while a parcel was alone under way; 0 where it was so among others. */
  readonly #endings = new Map<Parcel, number>();
  /** How often a parcel was acknowledged in vain: nobody heard it, or the broker refused it. */
  readonly #vain = new Map<Parcel, number>();
  #connection: Connection | null = null;
  #idle: (() => void)[] = [];

  constructor(events: OutboxEvents) {
    this.#events = events;
  }

  get depth(): number {
    return this.#waiting.length;
  }

  push(parcel: Parcel): void {
    this.#waiting.push(parcel);
    this.#pump();
  }

  /** Delivers over this connection from now on; null while there is none. */
  use(connection: Connection | null): void {
    this.#connection = connection;
    const alone = this.#underWay.size === 1 ? 1 : 0;
    for (const parcel of this.#underWay) this.#endings.set(parcel, (this.#endings.get(parcel) ?? 0) + alone);
    this.#underWay.clear();
    if (connection === null) this.#dropFleeting();
    this.#pump();
  }

  /** Resolves when every parcel has been acknowledged. */
  idle(): Promise<void> {
    if (this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #dropFleeting(): void {
    this.#waiting = this.#waiting.filter(({ fleeting }) => fleeting !== true);
    for (const parcel of this.#endings.keys()) if (parcel.fleeting) this.#endings.delete(parcel);
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (this.#waiting.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #pump(): void {
    const connection = this.#connection;
    if (connection === null) return;
    const window = Math.min(windowMax, connection.limits.receive_maximum);
    for (const parcel of this.#waiting) {
      if (this.#underWay.size >= window) return;
      if (!this.#underWay.has(parcel)) void this.#send(parcel, connection);
      if (this.#endings.has(parcel)) return;
    }
  }

  async #send(parcel: Parcel, connection: Connection): Promise<void> {
    this.#underWay.add(parcel);
    let code: number;
    try {
      code = await connection.publish(parcel.topic, this.#fitting(parcel, connection), {
        qos: 1,
        retain: parcel.retain,
        content_type: 'application/json',
        ...(parcel.correlation === undefined ? {} : { correlation: parcel.correlation }),
        ...(parcel.expiry_s === undefined ? {} : { expiry_s: parcel.expiry_s }),
        ...(parcel.user_properties === undefined ? {} : { user_properties: parcel.user_properties }),
      });
    } catch {
      return; // The connection ended: `use` is called with the next one, and the parcel is still here.
    }
    if (connection !== this.#connection) return;
    this.#underWay.delete(parcel);
    this.#endings.delete(parcel);
    this.#waiting.splice(this.#waiting.indexOf(parcel), 1);
    this.#settle(parcel, code);
    this.#tellIdle();
    this.#pump();
  }

  /** A retained message waits on the broker for whoever comes; any other is lost if nobody is there (code 16). */
  #settle(parcel: Parcel, code: number): void {
    const times = this.#vain.get(parcel) ?? 0;
    const unheardNow = code === reasonCodes.noMatchingSubscribers && !parcel.retain;
    this.#vain.delete(parcel);
    this.#events.answered(parcel.topic, code);
    if (code >= reasonCodes.failure && !parcel.optional) this.#again(parcel, times, refused);
    else if (unheardNow && times < unheardMax) this.#again(parcel, times, unheard);
    else parcel.delivered();
  }

  #again(parcel: Parcel, times: number, pauses: BackoffBounds): void {
    const connection = this.#connection;
    this.#vain.set(parcel, times + 1);
    setTimeout(
      () => {
        if (!parcel.fleeting || connection === this.#connection) this.push(parcel);
        else this.#vain.delete(parcel);
      },
      backoffMs(times, pauses, Math.random()),
    ).unref();
  }

  #fitting(parcel: Parcel, connection: Connection): string {
    const bytesMax = payloadBytesMax(connection.limits, parcel.topic);
    if (Buffer.byteLength(parcel.payload) > bytesMax) return parcel.smaller(bytesMax);
    return (this.#endings.get(parcel) ?? 0) < endingsMax ? parcel.payload : parcel.smaller(null);
  }
}
