import type { SamplingOptions } from '../ipc/messages.ts';
import { SlmdError } from '../lib/errors.ts';
import { seededRandom } from './random.ts';
import { topIds } from './top.ts';

/** How many tokens the first look for top-p takes; each further look takes eight times as many. */
const topPFirstLook = 64;

/**
 * Chooses the next token from logits. Numbers in, number out; it knows no model.
 *
 * The order is that of Hugging Face transformers (`GenerationMixin._get_logits_processor`), which the
 * published sampling settings of models assume: repetition penalty, temperature, top-k, top-p, min-p.
 * Top-p sums the probabilities that top-k left. Each of the three keeps a run from the top of the same
 * descending order, so that what is left is the shortest of the three runs.
 */
export class Sampler {
  readonly #options: SamplingOptions;
  readonly #random: () => number;
  readonly #seen: Set<number>;

  /** @param promptIds tokens that count as seen for the repetition penalty, as in the source */
  constructor(options: SamplingOptions, promptIds: Iterable<number>) {
    this.#options = options;
    this.#random = seededRandom(options.seed);
    this.#seen = new Set(promptIds);
  }

  /**
   * @param logits [vocabulary]; overwritten
   * @returns the chosen id, which counts as seen from now on
   * @throws {SlmdError} `engine_failed` when a logit is NaN or +Infinity, or none is above -Infinity: the model is broken
   */
  next(logits: Float32Array): number {
    if (this.#options.repetition_penalty !== 1)
      penalize(logits, this.#seen, this.#options.repetition_penalty);
    const best = bestId(logits);
    const id = this.#options.temperature === 0 ? best : this.#draw(logits, logits[best]!);
    this.#seen.add(id);
    return id;
  }

  #draw(logits: Float32Array, bestLogit: number): number {
    const { temperature, top_k, top_p, min_p } = this.#options;
    // Weights are relative to the best token's, which has 1: no overflow, and min-p is a comparison.
    const weights = logits;
    for (let id = 0; id < weights.length; id++) {
      weights[id] = Math.exp((logits[id]! - bestLogit) / temperature);
    }
    if (top_k > 0 && top_k < weights.length) {
      const kept = topIds(weights, top_k);
      return this.#pick(weights, withinTopP(weights, kept, top_p * sumOf(weights, kept)), min_p);
    }
    if (top_p < 1) return this.#pick(weights, nucleus(weights, top_p), min_p);
    return this.#pick(weights, undefined, min_p);
  }

  /** Draws one of `ids` (of all when undefined) in proportion to its weight, if that is at least `minWeight`. */
  #pick(weights: Float32Array, ids: Uint32Array | undefined, minWeight: number): number {
    const count = ids?.length ?? weights.length;
    const idAt = (i: number) => (ids === undefined ? i : ids[i]!);
    const weightAt = (i: number) => {
      const weight = weights[idAt(i)]!;
      return weight >= minWeight ? weight : 0;
    };
    let total = 0;
    for (let i = 0; i < count; i++) total += weightAt(i);
    const target = this.#random() * total;
    let sum = 0;
    let last = 0;
    for (let i = 0; i < count; i++) {
      const weight = weightAt(i);
      if (weight === 0) continue;
      sum += weight;
      last = i;
      if (sum > target) break;
    }
    return idAt(last);
  }
}

const largestFloat = 3.4028234663852886e38;

/** Keskar et al. 2019 (CTRL): divides positive and multiplies negative logits, once for each token seen. */
function penalize(logits: Float32Array, seen: ReadonlySet<number>, penalty: number): void {
  for (const id of seen) {
    if (id >= logits.length) continue;
    const logit = logits[id]!;
    // Divided by next to nothing it would be infinite, and the model seem broken.
    logits[id] = logit > 0 ? Math.min(logit / penalty, largestFloat) : logit * penalty;
  }
}

/** The largest logit's id, of equal ones the lowest. Refuses what no distribution can be made of. */
function bestId(logits: Float32Array): number {
  let best = -1;
  let bestLogit = Number.NEGATIVE_INFINITY;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (logit > bestLogit) {
      best = id;
      bestLogit = logit;
    } else if (Number.isNaN(logit)) {
      throw new SlmdError('engine_failed', 'the logits contain NaN');
    }
  }
  if (best === -1 || bestLogit === Number.POSITIVE_INFINITY)
    throw new SlmdError('engine_failed', 'no logit is finite');
  return best;
}

/** The shortest descending run whose weights reach `p` of all weights. */
function nucleus(weights: Float32Array, p: number): Uint32Array {
  let total = 0;
  for (let id = 0; id < weights.length; id++) total += weights[id]!;
  for (let count = topPFirstLook; ; count *= 8) {
    const ids = topIds(weights, count);
    const kept = withinTopP(weights, ids, p * total);
    if (kept.length < ids.length || ids.length === weights.length) return kept;
  }
}

/** The shortest run from the start of `ids` whose weights reach `enough`; all of them if none does. */
function withinTopP(weights: Float32Array, ids: Uint32Array, enough: number): Uint32Array {
  let sum = 0;
  for (let i = 0; i < ids.length; i++) {
    sum += weights[ids[i]!]!;
    if (sum >= enough) return ids.subarray(0, i + 1);
  }
  return ids;
}

function sumOf(weights: Float32Array, ids: Uint32Array): number {
  let sum = 0;
  for (const id of ids) sum += weights[id]!;
  return sum;
}
