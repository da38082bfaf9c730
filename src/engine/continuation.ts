import { monotonicMs } from '../lib/clock.ts';
import type { Sequence } from '../onnx/decoder.ts';
import { type Draft, draftOf, foretoldDraft } from './draft.ts';
import { type Lead, leadOf, lostOf } from './lead.ts';
import { draftMax, type Estimate, type Speculation } from './speculation.ts';

/** A run over a token that is sure and a draft behind it. */
interface DraftRun {
  /** Place of the first token in the sequence. */
  start: number;
  ids: readonly number[];
  logits: Float32Array;
  match: number;
}

export interface ContinuationOptions {
  prompt: readonly number[];
  /** Tokens of prompt and answer. */
  tokensMax: number;
  /** The tokens of a text that goes on behind another. */
  encode(text: string): number[];
  /** Null where each token is to be run alone. */
  speculation: Speculation | null;
  /** Whether no other sequence decodes: several are faster in one run than each with a draft. */
  alone(): boolean;
}

/**
 * The logits after each token of a greedy answer, some of them from runs that took a draft along.
 *
 * INVARIANT: the tokens chosen are those that would be chosen if each had been run alone. Kernels round several
 * tokens of a run otherwise, and so all that follows them in the KV cache. So logits that are nearer to each other
 * than rounding can bring them are in doubt, and then every token since the last that is exact is run again,
 * alone. Proved on models of every family by `test/engine/speculation.test.ts`.
 */
export class Continuation {
  /** Draft tokens that were run, and those of them that the model chose. */
  speculated = 0;
  accepted = 0;
  /** Tokens that were run again because they were in doubt. */
  rerun = 0;
  readonly #sequence: Sequence;
  readonly #options: ContinuationOptions;
  readonly #estimate: Estimate | null;
  readonly #tokens: number[];
  /** Tokens at the beginning whose keys and values are those of tokens that were run alone. */
  #exact: number;
  #run: DraftRun | null = null;
  /** The draft that was found at the last token and not run: it shows for nothing what one would have won. */
  #shadow: Draft | null = null;

  constructor(sequence: Sequence, options: ContinuationOptions) {
    const { prompt, speculation } = options;
    this.#sequence = sequence;
    this.#options = options;
    this.#estimate = sequence.forwardEach === undefined ? null : (speculation?.begin() ?? null);
    this.#tokens = [...prompt];
    this.#exact = prompt.length;
  }

  /**
   * The logits after one more token; the caller's to overwrite until the next call.
   *
   * @param foretold how the answer goes on behind it, as far as a grammar leaves no choice
   */
  async next(id: number, signal: AbortSignal, foretold = ''): Promise<Float32Array> {
    if (this.#estimate === null) return this.#sequence.forward([id], signal);
    const at = this.#tokens.push(id) - 1;
    const foreseen = this.#foreseen(id, at, this.#estimate);
    if (foreseen !== null) return foreseen;
    const forgets = this.#sequence.length > at;
    if (forgets) this.#sequence.rewind(at);
    const draft = this.#draft(at, foretold, this.#estimate);
    const started = monotonicMs();
    if (draft === null) {
      const logits = await this.#sequence.forward([id], signal);
      this.#estimate.noteRun(0, monotonicMs() - started, forgets);
      if (this.#exact === at) this.#exact++;
      return logits;
    }
    const ids = [id, ...draft.ids];
    const logits = await this.#sequence.forwardEach!(ids, signal);
    this.#estimate.noteRun(draft.ids.length, monotonicMs() - started, forgets);
    this.#run = { start: at, ids, logits, match: draft.match };
    this.speculated += draft.ids.length;
    return this.#logitsAt(this.#run, 0);
  }

  /**
   * What comes first by these logits, as `next` gave them, where that could be another if each token had been run alone;
   * null where there is no doubt.
   */
  doubt(logits: Float32Array): Lead | null {
    if (this.#estimate === null || this.#exact === this.#tokens.length) return null;
    const lead = leadOf(logits);
    return lead.lead < this.#options.speculation!.tolerance ? lead : null;
  }

  /** The logits after the same tokens once more, now exact. */
  async again(signal: AbortSignal): Promise<Float32Array> {
    const ids = this.#tokens.slice(this.#exact);
    this.#run = null;
    this.#sequence.rewind(this.#exact);
    this.#estimate?.noteDoubt(ids.length, 0);
    this.rerun += ids.length;
    let logits = new Float32Array();
    for (const id of ids) {
      logits = (await this.#sequence.forward([id], signal)) as Float32Array<ArrayBuffer>;
      this.#exact++;
    }
    return logits;
  }

  /** Learns from a doubt, by the exact logits, with whatever is done to logits before a choice. */
  settle(doubt: Lead, exact: Float32Array): void {
    this.#options.speculation?.noteLost(lostOf(doubt, exact));
  }

  /** What a run has said already about what follows this token. */
  #foreseen(id: number, at: number, estimate: Estimate): Float32Array | null {
    if (this.#shadow !== null) estimate.noteToken(this.#shadow.match, this.#shadow.ids[0] === id);
    this.#shadow = null;
    const run = this.#run;
    if (run === null) return null;
    estimate.noteDoubt(0, 1);
    const place = at - run.start;
    if (place < run.ids.length) {
      const accepted = run.ids[place] === id;
      estimate.noteToken(run.match, accepted);
      if (accepted) {
        this.accepted++;
        return this.#logitsAt(run, place);
      }
    }
    this.#run = null;
    return null;
  }

  #draft(at: number, foretold: string, estimate: Estimate): Draft | null {
    const { tokensMax, alone, encode } = this.#options;
    // Behind a draft there must be room for one more token: the last of an answer is never run.
    const most = Math.min(draftMax, tokensMax - at - 2);
    if (most < 1 || !alone()) return null;
    const draft = foretoldDraft(foretold, encode, most) ?? draftOf(this.#tokens, most);
    if (draft === null) return null;
    const worth = estimate.worth(draft);
    if (worth > 0) return { ...draft, ids: draft.ids.slice(0, worth) };
    this.#shadow = draft;
    return null;
  }

  #logitsAt({ logits }: DraftRun, place: number): Float32Array {
    const { vocabularySize } = this.#sequence;
    return logits.subarray(place * vocabularySize, (place + 1) * vocabularySize);
  }
}
