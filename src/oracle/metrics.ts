/** How far one model's distribution is from a reference's, over many positions. */
export interface Distance {
  positions: number;
  /** Share of positions where both would choose the same token. */
  greedy_agreement: number;
  /** Mean of KL(reference ‖ tested) in nats. */
  kl_divergence: number;
}

/** How well both predict tokens that are given. */
export interface Prediction {
  positions: number;
  perplexity: number;
  perplexity_reference: number;
}

/** Sums up positions; each is two arrays of logits, [vocabulary]. */
export class DistanceMeter {
  #positions = 0;
  #agreements = 0;
  #divergence = 0;

  add(reference: Float32Array, tested: Float32Array): void {
    this.#positions++;
    if (argmax(reference) === argmax(tested)) this.#agreements++;
    const [logZ, logZTested] = [logSumExp(reference), logSumExp(tested)];
    let sum = 0;
    for (let i = 0; i < reference.length; i++) {
      const logP = reference[i]! - logZ;
      sum += Math.exp(logP) * (logP - (tested[i]! - logZTested));
    }
    this.#divergence += Math.max(0, sum); // Rounding alone can make it negative.
  }

  get result(): Distance {
    const count = Math.max(1, this.#positions);
    return {
      positions: this.#positions,
      greedy_agreement: this.#agreements / count,
      kl_divergence: this.#divergence / count,
    };
  }
}

/** Sums up positions whose next token is known. */
export class PredictionMeter {
  #positions = 0;
  #nll = 0;
  #nllReference = 0;

  add(reference: Float32Array, tested: Float32Array, next: number): void {
    this.#positions++;
    this.#nll += logSumExp(tested) - tested[next]!;
    this.#nllReference += logSumExp(reference) - reference[next]!;
  }

  get result(): Prediction {
    const count = Math.max(1, this.#positions);
    return {
      positions: this.#positions,
      perplexity: Math.exp(this.#nll / count),
      perplexity_reference: Math.exp(this.#nllReference / count),
    };
  }
}

export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

function logSumExp(logits: Float32Array): number {
  const max = logits[argmax(logits)]!;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  return max + Math.log(sum);
}
