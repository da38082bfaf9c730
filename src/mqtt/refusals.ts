import type { Topics } from '../contract/topics.ts';

/**
 * What the broker does not take on this connection, with a line for each place.
 *
 * A place is what an ACL would name: a topic, or all topics of one kind, for where a topic ends with a
 * request's id, that is for the log alone.
 */
export class Refusals {
  readonly #fixed: ReadonlySet<unknown>;
  readonly #lines = new Map<string, string>();

  constructor(topics: Topics) {
    this.#fixed = new Set(Object.values(topics));
  }

  /** For a person; null where nothing under `prefix` is refused. */
  finding(prefix: string): string | null {
    const lines = [...this.#lines].filter(([place]) => place.startsWith(prefix));
    return lines.length === 0 ? null : lines.map(([, line]) => line).join('; ');
  }

  /** @returns whether it is news */
  refused(topic: string, lineFor: (place: string) => string): boolean {
    const place = this.#placeOf(topic);
    const line = lineFor(place);
    if (this.#lines.get(place) === line || this.#lines.size >= placesMax) return false;
    this.#lines.set(place, line);
    return true;
  }

  /** @returns whether it is news */
  taken(topic: string): boolean {
    return this.#lines.size > 0 && this.#lines.delete(this.#placeOf(topic));
  }

  clear(): void {
    this.#lines.clear();
  }

  #placeOf(topic: string): string {
    return this.#fixed.has(topic) ? topic : `${topic.split('/').slice(0, -1).join('/')}/…`;
  }
}

/** The device's own kinds of topics, and some that requesters have named: those may be any number. */
const placesMax = 32;
