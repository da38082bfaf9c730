import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../src/engine/random.ts';
import { Sampler } from '../../src/engine/sampler.ts';
import { topIds } from '../../src/engine/top.ts';
import type { SamplingOptions } from '../../src/ipc/messages.ts';

const open: SamplingOptions = {
  temperature: 1,
  top_k: 0,
  top_p: 1,
  min_p: 0,
  repetition_penalty: 1,
  seed: 1,
};
const greedy: SamplingOptions = { ...open, temperature: 0 };

/** Logits whose softmax is `probabilities`. */
function logitsOf(probabilities: number[]): Float32Array {
  return Float32Array.from(probabilities, (p) => Math.log(p));
}

/** How often each id is drawn from the same logits, as a fraction. */
function frequencies(options: SamplingOptions, probabilities: number[], draws = 20_000): number[] {
  const sampler = new Sampler(options, []);
  const counts = probabilities.map(() => 0);
  for (let i = 0; i < draws; i++) counts[sampler.next(logitsOf(probabilities))]! += 1;
  return counts.map((count) => count / draws);
}

/** 20 000 draws have a standard deviation of at most 0.0036. */
function assertNear(actual: number[], expected: number[]): void {
  for (const [i, p] of expected.entries()) {
    assert.ok(Math.abs(actual[i]! - p) < 0.015, `token ${i}: ${actual[i]} is not near ${p}`);
    if (p === 0) assert.equal(actual[i], 0);
  }
}

test('at temperature 0 the largest logit is chosen, and of equal ones the lowest id', () => {
  assert.equal(new Sampler(greedy, []).next(Float32Array.of(1, 3, 2)), 1);
  assert.equal(new Sampler(greedy, []).next(Float32Array.of(1, 3, 3, 3)), 1);
  assert.equal(new Sampler(greedy, []).next(Float32Array.of(Number.NEGATIVE_INFINITY, -5)), 1);
});

test('without filters tokens are drawn as often as they are probable', () => {
  assertNear(frequencies(open, [0.5, 0.3, 0.15, 0.05]), [0.5, 0.3, 0.15, 0.05]);
});

test('a temperature of 2 flattens the distribution and one of 0.5 sharpens it', () => {
  const flat = [0.5, 0.3, 0.2].map(Math.sqrt);
  const flatSum = flat.reduce((a, b) => a + b);
  assertNear(
    frequencies({ ...open, temperature: 2 }, [0.5, 0.3, 0.2]),
    flat.map((p) => p / flatSum),
  );
  assertNear(frequencies({ ...open, temperature: 0.5 }, [0.5, 0.3, 0.2]), [25 / 38, 9 / 38, 4 / 38]);
});

test('top-k keeps the k most probable tokens, and of equal ones the lower ids', () => {
  assertNear(frequencies({ ...open, top_k: 2 }, [0.1, 0.5, 0.3, 0.1]), [0, 5 / 8, 3 / 8, 0]);
  assertNear(frequencies({ ...open, top_k: 2 }, [0.2, 0.2, 0.2, 0.4]), [1 / 3, 0, 0, 2 / 3]);
  assertNear(frequencies({ ...open, top_k: 9 }, [0.5, 0.5]), [0.5, 0.5]);
});

test('top-p keeps the smallest set that reaches p', () => {
  assertNear(frequencies({ ...open, top_p: 0.75 }, [0.05, 0.5, 0.15, 0.3]), [0, 5 / 8, 0, 3 / 8]);
  assertNear(frequencies({ ...open, top_p: 0.01 }, [0.05, 0.5, 0.15, 0.3]), [0, 1, 0, 0]);
});

test('top-p finds its set in a vocabulary that is larger than its first look', () => {
  const probabilities = new Array<number>(5000).fill(0.5 / 4900);
  for (let id = 4900; id < 5000; id++) probabilities[id] = 0.5 / 100;
  const actual = frequencies({ ...open, top_p: 0.5001 }, probabilities, 1000);
  const outside = actual.slice(10, 4900).reduce((a, b) => a + b);
  const drawn = actual.filter((frequency) => frequency > 0).length;
  assert.equal(outside, 0);
  assert.ok(drawn > 90, `${drawn} of the 101 tokens that are kept were drawn`);
  assert.ok(actual.slice(4900).reduce((a, b) => a + b) > 0.97);
});

test('top-p measures against what top-k left', () => {
  // Of the two kept, the first alone has 5/8: enough for 0.6, although it has only half of all.
  assertNear(frequencies({ ...open, top_k: 2, top_p: 0.6 }, [0.5, 0.3, 0.2]), [1, 0, 0]);
});

test('min-p keeps tokens that have at least that fraction of the best probability', () => {
  assertNear(frequencies({ ...open, min_p: 0.4 }, [0.1, 0.5, 0.15, 0.25]), [0, 2 / 3, 0, 1 / 3]);
  assertNear(frequencies({ ...open, min_p: 0.4, top_k: 3 }, [0.1, 0.5, 0.15, 0.25]), [0, 2 / 3, 0, 1 / 3]);
});

test('the temperature is applied before the filters', () => {
  // At temperature 2 the ratio of 0.25 to 0.5 is 0.71, above a min-p of 0.6; at 1 it is 0.5, below.
  const flat = frequencies({ ...open, temperature: 2, min_p: 0.6 }, [0.5, 0.25, 0.25]);
  assert.ok(flat[1]! > 0.2);
});

test('the repetition penalty divides positive and multiplies negative logits of tokens seen so far', () => {
  const penalized = { ...greedy, repetition_penalty: 2 };
  assert.equal(new Sampler(penalized, [0]).next(Float32Array.of(3, 2)), 1);
  assert.equal(new Sampler(penalized, [0]).next(Float32Array.of(-1, -1.5)), 1);
  assert.equal(new Sampler(penalized, [7]).next(Float32Array.of(3, 2)), 0);
});

test('a penalty next to nothing favours what was seen, and is no broken model', () => {
  for (const repetition_penalty of [1e-40, 1e-300, Number.MIN_VALUE])
    for (const temperature of [0, 1])
      assert.equal(
        new Sampler({ ...greedy, temperature, repetition_penalty }, [1]).next(Float32Array.of(9, 3, -1)),
        1,
      );
});

test('a token counts as seen once it was chosen, and is penalized once however often it was seen', () => {
  const sampler = new Sampler({ ...greedy, repetition_penalty: 2 }, []);
  assert.equal(sampler.next(Float32Array.of(3, 2)), 0);
  assert.equal(sampler.next(Float32Array.of(3, 2)), 1);
  const often = new Sampler({ ...greedy, repetition_penalty: 1.2 }, [0, 0, 0, 0]);
  assert.equal(often.next(Float32Array.of(3, 2)), 0);
});

test('logits of which no distribution can be made are refused', () => {
  for (const options of [greedy, open]) {
    const sampler = new Sampler(options, []);
    assert.throws(() => sampler.next(Float32Array.of(1, Number.NaN, 2)));
    assert.throws(() => sampler.next(Float32Array.of(Number.NaN, 2)));
    assert.throws(() => sampler.next(Float32Array.of(1, Number.POSITIVE_INFINITY)));
    assert.throws(() => sampler.next(new Float32Array(3).fill(Number.NEGATIVE_INFINITY)));
    assert.throws(() => sampler.next(new Float32Array(0)));
  }
});

test('a token with a logit of -Infinity is never drawn', () => {
  const sampler = new Sampler(open, []);
  for (let i = 0; i < 1000; i++) {
    assert.notEqual(sampler.next(Float32Array.of(Number.NEGATIVE_INFINITY, 0, 0)), 0);
  }
});

test('the same seed draws the same sequence and another seed draws another', () => {
  const draw = (seed: number) => {
    const sampler = new Sampler({ ...open, seed }, []);
    return Array.from({ length: 50 }, () => sampler.next(new Float32Array(100)));
  };
  assert.deepEqual(draw(42), draw(42));
  assert.notDeepEqual(draw(42), draw(43));
  assert.notDeepEqual(draw(1), draw(1 + 2 ** 32));
});

test('the random source is uniform in [0, 1) for neighbouring seeds', () => {
  for (const seed of [0, 1, 2, 2 ** 32, Number.MAX_SAFE_INTEGER, -1]) {
    const random = seededRandom(seed);
    const buckets = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) {
      const x = random();
      assert.ok(x >= 0 && x < 1);
      buckets[Math.floor(x * 10)]! += 1;
    }
    for (const count of buckets) assert.ok(count > 850 && count < 1150, `seed ${seed}: ${buckets}`);
  }
  const firsts = Array.from({ length: 2000 }, (_, seed) => seededRandom(seed)());
  const mean = firsts.reduce((a, b) => a + b) / firsts.length;
  assert.ok(Math.abs(mean - 0.5) < 0.03, `first numbers of neighbouring seeds average ${mean}`);
});

test('the largest values are found in the order that a stable sort gives', () => {
  const random = seededRandom(7);
  for (let round = 0; round < 200; round++) {
    const values = Array.from({ length: Math.floor(random() * 40) }, () => Math.floor(random() * 8));
    const count = Math.floor(random() * 45);
    const sorted = values.map((_, id) => id).sort((a, b) => values[b]! - values[a]! || a - b);
    assert.deepEqual([...topIds(values, count)], sorted.slice(0, count));
  }
});
