import assert from 'node:assert/strict';
import { test } from 'node:test';
import { workMs } from '../../src/queue/estimate.ts';
import { PaceMeter, type PaceSample } from '../../src/queue/pace-meter.ts';
import { randomNumbers } from '../support/random.ts';

/** An engine of 2 ms a byte and 20 ms a token, 5 ms besides. */
function sample(more: Partial<PaceSample> = {}): PaceSample {
  const bytes = more.bytes ?? 50;
  const completion_tokens = more.completion_tokens ?? 11;
  const [prefill_ms, decode_ms] = [2 * bytes, 20 * (completion_tokens - 1)];
  const service_ms = prefill_ms + decode_ms + 5;
  return {
    bytes,
    max_tokens: null,
    service_ms,
    prefill_ms,
    decode_ms,
    completion_tokens,
    complete: true,
    ...more,
  };
}

function meterOf(samples: PaceSample[]): PaceMeter {
  const meter = new PaceMeter();
  for (const one of samples) meter.learn(one, 0);
  return meter;
}

const near = (value: number | null | undefined, wanted: number, what: string) =>
  assert.ok(
    Math.abs((value ?? Number.NaN) - wanted) <= 0.01 * wanted + 1e-9,
    `${what}: ${value}, not ${wanted}`,
  );

test('nothing is known before the first answer, and all of it after', () => {
  assert.equal(new PaceMeter().pace, null);
  const pace = meterOf([sample()]).pace ?? assert.fail();
  near(pace.overhead_ms, 5, 'overhead');
  near(pace.prefill_ms_per_byte, 2, 'prefill');
  near(pace.decode_ms_per_token, 20, 'decode');
  near(pace.completion_tokens, 11, 'tokens');
  assert.deepEqual([pace.bytes_max, pace.error_ms], [50, null]);
});

test('answers of any size and length give the rates behind them', () => {
  const random = randomNumbers(1);
  const samples = Array.from({ length: 100 }, () =>
    sample({ bytes: 10 + Math.floor(random() * 500), completion_tokens: 1 + Math.floor(random() * 60) }),
  );
  const pace = meterOf(samples).pace ?? assert.fail();
  near(pace.prefill_ms_per_byte, 2, 'prefill');
  near(pace.decode_ms_per_token, 20, 'decode');
  near(pace.overhead_ms, 5, 'overhead');
});

test('the pace follows an engine that becomes slower within some tens of answers', () => {
  const slow = sample({ decode_ms: 800, service_ms: 905 });
  const pace = meterOf([...Array(50).fill(sample()), ...Array(64).fill(slow)]).pace ?? assert.fail();
  assert.ok(pace.decode_ms_per_token > 78, `${pace.decode_ms_per_token}`);
});

test('the error is what estimates were off by', () => {
  const exact = meterOf(Array(5).fill(sample())).pace ?? assert.fail();
  near(exact.error_ms, 0, 'an engine that never varies');
  const both = [sample({ completion_tokens: 6 }), sample({ completion_tokens: 16 })];
  const pace = meterOf(Array(50).fill(both).flat()).pace ?? assert.fail();
  // Half of the answers are 100 ms quicker than the mean, half 100 ms slower.
  assert.ok(Math.abs((pace.error_ms ?? 0) - 100) < 10, `${pace.error_ms}`);
});

test('an answer that was cut short tells of rates, and of a length only where it was longer than most', () => {
  const meter = meterOf([sample(), sample({ completion_tokens: 2, complete: false })]);
  near(meter.pace?.completion_tokens, 11, 'tokens');
  near(meter.pace?.decode_ms_per_token, 20, 'decode');
  meter.learn(sample({ completion_tokens: 100, complete: false }), 0);
  assert.ok((meter.pace?.completion_tokens ?? 0) > 11);
  const none = meterOf([sample({ completion_tokens: 0, complete: false })]);
  assert.equal(none.pace, null);
});

test('the largest payload that counts fades with the answers that measured it', () => {
  const pace = meterOf([sample({ bytes: 8000 }), ...Array(100).fill(sample())]).pace ?? assert.fail();
  assert.equal(pace.bytes_max, 50);
  near(workMs({ bytes: 8000, max_tokens: null }, pace), workMs(sample(), pace), 'no more than was measured');
});

test('[SLMD-ADM-4] a pace is trusted after three answers, and for a minute after the last', () => {
  const meter = new PaceMeter();
  for (const wanted of [false, false, true]) {
    meter.learn(sample(), 1000);
    assert.equal(meter.trusted(1000), wanted);
  }
  assert.ok(meter.trusted(61_000));
  assert.ok(!meter.trusted(61_001));
});

test('the slip is what nineteen of twenty answers took beside their estimates, and never less than these', () => {
  const meter = meterOf([sample()]);
  const slip = () => meter.pace?.slip ?? Number.NaN;
  assert.equal(slip(), 1);
  for (let i = 0; i < 50; i++) meter.learnSlip(500, 1000);
  assert.equal(slip(), 1);
  for (let i = 0; i < 100; i++) meter.learnSlip(i % 2 === 0 ? 1000 : 2000, 1000);
  // Half of them took twice as long: 1.5 in the mean, 0.5 beside it.
  assert.ok(Math.abs(slip() - (1.5 + 1.645 * 0.5)) < 0.05, `${slip()}`);
  for (let i = 0; i < 100; i++) meter.learnSlip(1_000_000, 1000);
  assert.ok(slip() <= 4.5, 'one that was held up is not the measure of all');
});
