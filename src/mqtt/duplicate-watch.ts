import type { Status } from '../contract/status.ts';
import type { Ended } from './link.ts';

/** What gave another device with this one's name away. */
export type DuplicateSign = 'status' | 'beside' | 'taken_over' | 'short_lived';

/** A connection that ends sooner was taken away, and not lost. */
const shortMs = 10_000;
const shortLivedMax = 3;
/** Predecessors that a broker may remember: one retained, and what its session has kept. */
const predecessorsMax = 64;

/**
 * Notices another device that lives under this one's name: two boards from one card.
 *
 * With the same client id they take the broker away from each other, and are never there together; so
 * each finds what the other has left. A status that another boot has published after this one's first is
 * of a device that was alive then. What was there before it may be of a process that is gone, and counts
 * only where its births go on. With client ids of their own both stay, and are never born again; then what
 * was said after the own birth of this very connection was said by somebody who was there meanwhile, unless
 * it is a will: a broker keeps the order of what it is told. A broker that was killed may bring up what is older than that; so this
 * device's own earlier boots, where it remembers them, are never a sign. Where the broker does not let a
 * device read its own status, connections that end as soon as they are made are the sign.
 */
export class DuplicateWatch {
  readonly #boot: string;
  #earlier: ReadonlySet<string> = new Set();
  /** Births of others that were there before this device's own. */
  readonly #predecessors = new Map<string, number>();
  /** This device's latest birth that it has heard of; 0 before the first. */
  #ownHeard = 0;
  #shortLived = 0;

  constructor(boot: string) {
    this.#boot = boot;
  }

  /** This device's boots before this one, as far as it remembers them. */
  remember(earlier: readonly string[]): void {
    this.#earlier = new Set(earlier);
  }

  /**
   * A status on this device's own topic.
   *
   * @param ownBirth of this connection; null before it
   */
  hear({ boot, birth, state }: Status, ownBirth: number | null): DuplicateSign | null {
    if (boot === this.#boot) {
      this.#ownHeard = Math.max(this.#ownHeard, birth);
      return null;
    }
    if (this.#earlier.has(boot)) return null;
    if (this.#ownHeard === ownBirth && state !== 'offline') return 'beside';
    const known = this.#predecessors.get(boot) ?? 0;
    if (this.#ownHeard > 0) return birth > known ? 'status' : null;
    if (this.#predecessors.size < predecessorsMax) this.#predecessors.set(boot, Math.max(birth, known));
    return null;
  }

  /** A connection has ended, or could not be made. */
  ended({ trouble, lasted_ms }: Ended): DuplicateSign | null {
    if (trouble.code === 'taken_over') return 'taken_over';
    if (lasted_ms === null) return null;
    this.#shortLived = trouble.code === 'closed' && lasted_ms < shortMs ? this.#shortLived + 1 : 0;
    return this.#shortLived >= shortLivedMax && this.#ownHeard === 0 ? 'short_lived' : null;
  }
}
