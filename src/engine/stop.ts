/**
 * Watches streamed text for stop strings and gives on only what is surely before one.
 *
 * The stop string that is complete first ends the text; of several complete at the same character, the
 * longest. How the text is cut into pieces makes no difference. What is given on is never taken back:
 * an end that may still become a stop string is held until it is decided.
 */
export class StopFilter {
  readonly #stops: readonly string[];
  #held = '';
  #stopped = false;

  /** @param stops none of them empty */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Whether a stop string was complete; from then on nothing is given on. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Takes the next piece and returns the text that is final now. */
  push(piece: string): string {
    if (this.#stopped) return '';
    const text = this.#held + piece;
    const start = firstStop(text, this.#stops);
    if (start !== -1) {
      this.#stopped = true;
      this.#held = '';
      return text.slice(0, start);
    }
    const heldLength = longestOpenEnd(text, this.#stops);
    this.#held = text.slice(text.length - heldLength);
    return text.slice(0, text.length - heldLength);
  }

  /** No more text comes: returns what was held. */
  flush(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }
}

/** Where the stop string begins that is complete first, or -1. */
function firstStop(text: string, stops: readonly string[]): number {
  let start = -1;
  let end = Number.POSITIVE_INFINITY;
  for (const stop of stops) {
    const found = text.indexOf(stop);
    if (found === -1) continue;
    const foundEnd = found + stop.length;
    if (foundEnd < end || (foundEnd === end && found < start)) {
      start = found;
      end = foundEnd;
    }
  }
  return start;
}

/** The length of the longest end of `text` that a stop string begins with. */
function longestOpenEnd(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) {
        longest = length;
        break;
      }
    }
  }
  return longest;
}
