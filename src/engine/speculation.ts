import { eachMax } from '../onnx/decoder.ts';
import type { Draft } from './draft.ts';
import { Share } from './share.ts';

/** What a model's runs of several tokens are like on this machine; see `speculation-probe.ts`. */
export interface RunTraits {
  /** The time of a run with 1, 2 … draft tokens over that of one without. */
  costs: readonly number[];
  /** By how much a logit of such a run was found to differ from that of a token alone. */
  difference: number;
}

/** Tokens of a draft. */
export const draftMax = eachMax - 1;

/** What a draft must promise: below it, not even a good guess is worth the trouble. */
const gainMin = 1.15;
/**
 * Of the difference that was measured at load: a choice between two logits that are further apart is taken not to
 * depend on how they were rounded. `npm run bench:rounding` says how far that holds.
 */
const differencesApart = 6;
/** Of what a lead has lost in an answer, where that is more. */
const lossesApart = 3;

/** Before anything was seen: one token that agrees says little, three say much, and a grammar leaves few ways to write it. */
const firstGuesses = [0.25, 0.5, 0.75, 0.9];
const guessWeight = 4;
/** In tokens: what was seen within an answer, and over answers. */
const answerMemory = 32;
const engineMemory = 512;
/** In tokens that were run twice. */
const doubtMemory = 256;
/** An answer in which nothing is in doubt makes good for one in which all is, after so many. */
const forgivenWithin = 32;
/** What took so many times as long as was expected was held up by something else, which says nothing of the next run. */
const heldUp = 2;

/** What all answers of an engine have taught about drafts. */
export class Speculation {
  readonly traits: RunTraits;
  /** The most that a token's lead has lost when it was run again, in an answer: at load there is little to be seen. */
  #lost = 0;
  readonly #accepted = firstGuesses.map((guess) => new Share(guess, guessWeight, engineMemory));
  /** Of the tokens of runs with a draft, those that had to be run again. */
  readonly #doubted = new Share(0, guessWeight, doubtMemory);

  constructor(traits: RunTraits) {
    this.traits = traits;
  }

  /** Logits that are less apart may be the other way round when each token is run alone. */
  get tolerance(): number {
    return Math.max(differencesApart * this.traits.difference, lossesApart * this.#lost);
  }

  /** A token that was in doubt was run again, and had lost so much of its lead; it is never forgotten. */
  noteLost(lost: number): void {
    this.#lost = Math.max(this.#lost, lost);
  }

  /** Whether a draft pays when all of it is right. */
  get mayPay(): boolean {
    return this.traits.costs.some((cost, i) => (i + 2) / cost > gainMin);
  }

  /** What the next answer begins with. */
  begin(): Estimate {
    this.#doubted.note(0, doubtMemory / forgivenWithin);
    return new Estimate(this, this.#accepted, this.#doubted);
  }
}

/** Whether the next draft pays in one answer: by what was seen in it, and before that in others. */
export class Estimate {
  readonly #costs: number[];
  readonly #accepted: readonly Share[];
  readonly #before: readonly Share[];
  readonly #doubted: Share;
  /** Of a token alone; null until one was run. */
  #singleMs: number | null = null;
  /** What a run takes more behind tokens that were wrong, over a token alone: a cache may have to be moved to forget them. */
  #forgetting: number | null = null;

  constructor({ traits }: Speculation, before: readonly Share[], doubted: Share) {
    this.#costs = [...traits.costs];
    this.#before = before;
    this.#accepted = before.map(({ value }) => new Share(value, guessWeight, answerMemory));
    this.#doubted = doubted;
  }

  /** How many tokens of a draft to run: what brings most tokens for the time, or none. */
  worth({ ids, match }: Draft): number {
    const chance = this.#accepted[match - 1]!.value;
    let best = { tokens: 0, gain: gainMin };
    let expected = 1;
    for (let tokens = 1; tokens <= ids.length; tokens++) {
      expected += chance ** tokens;
      const forgetting = (1 - chance ** tokens) * Math.max(0, this.#forgetting ?? 0);
      const gain = expected / (this.#costs[tokens - 1]! + this.#doubted.value * expected + forgetting);
      if (gain > best.gain) best = { tokens, gain };
    }
    return best.tokens;
  }

  /** A token came that a draft had, or had not. */
  noteToken(match: number, accepted: boolean): void {
    for (const shares of [this.#accepted, this.#before]) shares[match - 1]!.note(accepted ? 1 : 0, 1);
  }

  /** Tokens came of runs with a draft, or were run again because they were in doubt. */
  noteDoubt(again: number, tokens: number): void {
    this.#doubted.note(again, tokens);
  }

  /**
   * How long a run took: what it costs depends on the context, too.
   *
   * @param forgot whether it was the first behind tokens of a draft that were wrong
   */
  noteRun(drafted: number, ms: number, forgot = false): void {
    if (forgot && this.#singleMs !== null) {
      const more = ms / this.#singleMs - (drafted === 0 ? 1 : this.#costs[drafted - 1]!);
      this.#forgetting = this.#forgetting === null ? more : mixed(this.#forgetting, more);
    } else if (drafted === 0) this.#singleMs = this.#singleMs === null ? ms : learned(this.#singleMs, ms);
    else if (this.#singleMs !== null)
      this.#costs[drafted - 1] = learned(this.#costs[drafted - 1]!, Math.max(1, ms / this.#singleMs));
  }
}

function learned(old: number, seen: number): number {
  return mixed(old, Math.min(seen, heldUp * old));
}

function mixed(old: number, seen: number): number {
  return 0.9 * old + 0.1 * seen;
}
