import assert from 'node:assert/strict';
import { test } from 'node:test';
import { estimate, type Pace, workMs } from '../../src/queue/estimate.ts';

const pace: Pace = {
  overhead_ms: 10,
  prefill_ms_per_byte: 0.5,
  bytes_max: 400,
  decode_ms_per_token: 20,
  completion_tokens: 11,
  error_ms: 40,
  slip: 1,
};
const own = { bytes: 100, max_tokens: null };
const behind = (count: number, running_ms = 0) =>
  Array.from({ length: count }, (_, i) => ({ work: own, running_ms: i === 0 ? running_ms : 0 }));

test('an answer takes what surrounds it, its prefill by its size, and its tokens after the first', () => {
  assert.equal(workMs(own, pace), 10 + 50 + 200);
  assert.equal(workMs({ ...own, max_tokens: 3 }, pace), 10 + 50 + 40);
  assert.equal(workMs({ ...own, max_tokens: 1000 }, pace), 260, 'most answers end by themselves');
});

test('a prompt that is larger than any that was measured is not taken to need more than that one', () => {
  assert.equal(workMs({ ...own, bytes: 100_000 }, pace), workMs({ ...own, bytes: 400 }, pace));
});

test('[SLMD-EVT-1] the estimate adds up what goes first, less what has run of it, and the request itself', () => {
  assert.equal(estimate(own, [], pace, 1).eta_ms, 260);
  assert.equal(estimate(own, behind(3), pace, 1).eta_ms, 4 * 260);
  assert.equal(estimate(own, behind(3, 60), pace, 1).eta_ms, 4 * 260 - 60);
  assert.equal(
    estimate(own, behind(1, 10_000), pace, 1).eta_ms,
    260,
    'who runs longer than expected is about to end',
  );
});

test('[SLMD-ADM-4] behind others a request needs what nineteen of twenty would, alone what one would', () => {
  const margin = 1.645 * 40;
  assert.equal(estimate(own, [], pace, 1).needs_ms, 260 - margin);
  const { needs_ms, needs_alone_ms } = estimate(own, behind(3), pace, 1);
  // Four answers, each off by itself, and all of them by what the mean over sixteen is off.
  assert.equal(needs_ms, 4 * 260 + margin * Math.sqrt(4 + 1));
  assert.equal(needs_alone_ms, 260 - margin);
});

test('[SLMD-ADM-4] an estimate that was never compared with an answer says when, and refuses nothing', () => {
  const { eta_ms, needs_ms, needs_alone_ms } = estimate(own, behind(3), { ...pace, error_ms: null }, 1);
  assert.deepEqual([eta_ms, needs_ms, needs_alone_ms], [4 * 260, null, null]);
});

test('[SLMD-ADM-4] behind others a request needs as many times longer as others took than was estimated', () => {
  const late = { ...pace, slip: 1.5 };
  assert.equal(estimate(own, behind(3), late, 1).needs_ms, 4 * 260 * 1.5);
  assert.equal(
    estimate(own, [], late, 1).needs_ms,
    estimate(own, [], pace, 1).needs_ms,
    'alone it is as before',
  );
});

test('[SLMD-EVT-1] where several have a turn at a time, a request waits for the one that is free soonest', () => {
  assert.equal(estimate(own, behind(3), pace, 4).eta_ms, 260, 'one is free');
  assert.equal(estimate(own, behind(4), pace, 4).eta_ms, 2 * 260);
  assert.equal(estimate(own, behind(4, 60), pace, 4).eta_ms, 2 * 260 - 60);
  assert.equal(estimate(own, behind(9), pace, 4).eta_ms, 3 * 260);
});
