import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DistanceMeter, PredictionMeter } from '../../src/oracle/metrics.ts';
import { perplexityRatio, verdictOf } from '../../src/oracle/verdict.ts';

const logits = (...values: number[]) => Float32Array.from(values);

test('two distributions that are one have no distance, however their logits are shifted', () => {
  const meter = new DistanceMeter();
  meter.add(logits(1, 2, 3), logits(101, 102, 103));
  const { positions, greedy_agreement, kl_divergence } = meter.result;
  assert.deepEqual([positions, greedy_agreement], [1, 1]);
  assert.ok(kl_divergence < 1e-6);
});

test('the distance is the mean divergence in nats, and the share of equal choices', () => {
  const meter = new DistanceMeter();
  meter.add(logits(Math.log(3), 0), logits(0, 0));
  meter.add(logits(Math.log(3), 0), logits(0, Math.log(3)));
  // KL((3/4, 1/4) ‖ (1/2, 1/2)) and KL((3/4, 1/4) ‖ (1/4, 3/4)), by hand.
  const expected = (0.75 * Math.log(1.5) + 0.25 * Math.log(0.5) + 0.5 * Math.log(3)) / 2;
  assert.ok(Math.abs(meter.result.kl_divergence - expected) < 1e-6);
  assert.equal(meter.result.greedy_agreement, 0.5);
});

test('the perplexity of a uniform distribution is its size', () => {
  const meter = new PredictionMeter();
  meter.add(logits(0, 0, 0, 0), logits(5, 5, 5, 5), 2);
  const { perplexity, perplexity_reference } = meter.result;
  assert.ok(Math.abs(perplexity - 4) < 1e-5 && Math.abs(perplexity_reference - 4) < 1e-5);
});

test('a meter without positions says nothing that is not finite', () => {
  const { greedy_agreement, kl_divergence } = new DistanceMeter().result;
  assert.deepEqual([greedy_agreement, kl_divergence, new PredictionMeter().result.perplexity], [0, 0, 1]);
});

test('perplexity counts where the reference does better than chance, and nowhere else', () => {
  const prose = { positions: 10, perplexity: 22, perplexity_reference: 20 };
  assert.equal(perplexityRatio(prose, 1000), 1.1);
  assert.equal(perplexityRatio(prose, 15), null);
});

test('a verdict is as good as the worst of its three parts', () => {
  const answers = { positions: 100, greedy_agreement: 0.97, kl_divergence: 0.02 };
  assert.equal(verdictOf(answers, 1.03), 'good');
  assert.equal(verdictOf(answers, null), 'good');
  assert.equal(verdictOf(answers, 1.1), 'fair');
  assert.equal(verdictOf(answers, 1.5), 'poor');
  assert.equal(verdictOf({ ...answers, greedy_agreement: 0.9 }, 1), 'fair');
  assert.equal(verdictOf({ ...answers, kl_divergence: 1 }, 1), 'poor');
});
