import type { Distance, Prediction } from './metrics.ts';

export type Verdict = 'good' | 'fair' | 'poor';

/**
 * What a model may lose by quantisation. `good` is what careful int4 loses on models that are in use: a
 * token in some twenty differs, and perplexity rises by a few percent; beyond `fair` answers change so
 * often that another layout should be taken.
 */
const bounds = {
  good: { greedy_agreement: 0.95, kl_divergence: 0.05, perplexity_ratio: 1.06 },
  fair: { greedy_agreement: 0.88, kl_divergence: 0.15, perplexity_ratio: 1.15 },
};

/**
 * Perplexity over the reference's. Null where the reference itself does no better than chance: the text is
 * not in its language, and what it makes of it says nothing.
 */
export function perplexityRatio(prose: Prediction, vocabularySize: number): number | null {
  return prose.perplexity_reference < vocabularySize ? prose.perplexity / prose.perplexity_reference : null;
}

/** @param answers over the reference's own answers @param ratio of perplexities, over a text that is given */
export function verdictOf(answers: Distance, ratio: number | null): Verdict {
  const within = ({ greedy_agreement, kl_divergence, perplexity_ratio }: (typeof bounds)['good']) =>
    answers.greedy_agreement >= greedy_agreement &&
    answers.kl_divergence <= kl_divergence &&
    (ratio === null || ratio <= perplexity_ratio);
  if (within(bounds.good)) return 'good';
  return within(bounds.fair) ? 'fair' : 'poor';
}
