import type { Parcel } from './outbox.ts';

interface Kept {
  parcel: Parcel;
  /** When the broker had it first, and last. `monotonicMs()` */
  first_at: number;
  last_at: number;
  /** It was to be given again, and nobody knows whether it was. */
  owed: boolean;
}

/** What a broker is given again at most, at one connect: the newest results, a few hundred bytes each. */
export const givenAgainMax = { parcels: 64, bytes: 262_144 };

/**
 * What the broker has lately acknowledged and should retain, so that it can be given again: a broker that is
 * killed forgets its last second, and one without persistence everything.
 *
 * INVARIANTS: one parcel for each topic, the last; none that was taken back; within `givenAgainMax`, the newest.
 */
export class RetainedMemory {
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  /** The broker has acknowledged it. An empty one takes back what is retained. */
  given(parcel: Parcel, now: number): void {
    const first_at = this.#kept.get(parcel.topic)?.first_at ?? now;
    this.takenBack(parcel.topic);
    if (parcel.payload === '') return;
    this.#kept.set(parcel.topic, { parcel, first_at, last_at: now, owed: false });
    this.#bytes += Buffer.byteLength(parcel.payload);
    for (const topic of this.#kept.keys()) {
      if (this.#kept.size <= givenAgainMax.parcels && this.#bytes <= givenAgainMax.bytes) break;
      this.takenBack(topic);
    }
  }

  /** The broker has acknowledged once more what it was given again. */
  givenAgain(topic: string, now: number): void {
    const kept = this.#kept.get(topic);
    if (kept === undefined) return;
    this.#kept.delete(topic); // A new place is at the end: the order of forgetting.
    this.#kept.set(topic, { ...kept, last_at: now, owed: false });
  }

  takenBack(topic: string): void {
    const kept = this.#kept.get(topic);
    if (kept === undefined) return;
    this.#bytes -= Buffer.byteLength(kept.parcel.payload);
    this.#kept.delete(topic);
  }

  /** To be given again: what the broker was last given at `since` or later, in order, with what is left of its time. */
  again(since: number, now: number): Parcel[] {
    const again: Parcel[] = [];
    for (const kept of this.#kept.values()) {
      if (kept.last_at < since && !kept.owed) continue;
      kept.owed = true;
      const { parcel } = kept;
      const left = (parcel.expiry_s ?? 0) - Math.floor((now - kept.first_at) / 1000);
      again.push(parcel.expiry_s === undefined ? parcel : { ...parcel, expiry_s: Math.max(1, left) });
    }
    return again;
  }
}
