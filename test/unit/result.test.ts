import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  answered,
  type EarlyEnd,
  endedWaiting,
  failed,
  refused,
  tooLarge,
} from '../../src/contract/compose.ts';
import { type ErrorCode, errorCodes, wireError } from '../../src/contract/errors.ts';
import { type RequestStamps, timingsOf } from '../../src/contract/result.ts';
import { promptRequest } from '../support/prompts.ts';
import { randomNumbers } from '../support/random.ts';
import { okResult } from '../support/results.ts';

const origin = {
  device: 'kitchen',
  model: 'fake',
  board: { soc_temp_c: 50, throttled: [], energy_j: null, energy_source: 'none' as const },
};

function stampsOf(received_at: number, ...phases: [number, number, number, number]): RequestStamps {
  const [started_at, tokenized_at, first_token_at, last_token_at] = phases.map((_, i) =>
    phases.slice(0, i + 1).reduce((sum, ms) => sum + ms, received_at),
  ) as [number, number, number, number];
  return { received_at, started_at, tokenized_at, first_token_at, last_token_at };
}

function usageOf(completion_tokens: number, prompt_tokens = 10, cached_tokens = 0) {
  const guessed = { speculated_tokens: 0, accepted_tokens: 0, rerun_tokens: 0 };
  return { prompt_tokens, cached_tokens, completion_tokens, ...guessed };
}

test('the phases add up to the total and to TTFT within 0.05 ms, whatever the stamps are', () => {
  const random = randomNumbers(1);
  const ms = () => 10 ** (6 * random() - 3);
  for (let i = 0; i < 10_000; i++) {
    const stamps = stampsOf(1e9 * random(), ms(), ms(), ms(), ms());
    const timings = timingsOf(stamps, usageOf(2 + Math.floor(100 * random())));
    const { queue_ms, tokenize_ms, prefill_ms, decode_ms, total_ms, ttft_ms } = timings;
    const ttft = queue_ms + tokenize_ms + prefill_ms;
    assert.ok(Math.abs(ttft - ttft_ms) < 0.05, JSON.stringify(stamps));
    assert.ok(Math.abs(ttft + decode_ms - total_ms) < 0.05, JSON.stringify(stamps));
    assert.ok(
      Object.values(timings).every((value) => value === null || (value >= 0 && Number.isFinite(value))),
    );
  }
});

test('TPOT is the mean time of each token after the first, null under two tokens', () => {
  const stamps = stampsOf(0, 1, 2, 10, 40);
  const tpot = (tokens: number) => timingsOf(stamps, usageOf(tokens)).tpot_ms;
  assert.deepEqual([tpot(0), tpot(1), tpot(2), tpot(5)], [null, null, 40, 10]);
});

test('rates leave out what was cached and what took no time', () => {
  const stamps = stampsOf(0, 1, 2, 10, 40);
  const { prefill_tokens_per_second, decode_tokens_per_second } = timingsOf(stamps, usageOf(5, 30, 10));
  assert.deepEqual([prefill_tokens_per_second, decode_tokens_per_second], [2000, 100]);
  assert.equal(timingsOf(stamps, usageOf(5, 30, 30)).prefill_tokens_per_second, null);
  const noTime = timingsOf(stampsOf(0, 1, 2, 0, 0), usageOf(5));
  assert.deepEqual([noTime.prefill_tokens_per_second, noTime.decode_tokens_per_second], [null, null]);
});

test('an error on the wire has its code, and is retryable as the list says', () => {
  for (const code of Object.keys(errorCodes) as ErrorCode[])
    assert.deepEqual(wireError(code, 'why'), { code, message: 'why', retryable: errorCodes[code].retryable });
});

test('an error says when to come again only where that is known, in whole milliseconds', () => {
  assert.equal(wireError('queue_full', '', 12.3).retry_after_ms, 13);
  assert.ok(!('retry_after_ms' in wireError('queue_full', '')));
});

const generated = {
  text: 'hi',
  format_complete: false,
  finish_reason: 'stop' as const,
  usage: usageOf(2),
  stamps: stampsOf(0, 1, 1, 1, 1),
};

test('each end of a request has its status, its code and whether work was done', () => {
  const request = promptRequest({ metadata: { room: 1 } });
  const ends = (early: EarlyEnd | null) => answered(request, generated, 2, early, origin);
  const summary = ({ status, error, text, attempt, metadata }: ReturnType<typeof ends>) => [
    status,
    error?.code,
    text,
    attempt,
    metadata,
  ];
  const { metadata } = request;
  assert.deepEqual(summary(ends(null)), ['ok', undefined, 'hi', 2, metadata]);
  assert.deepEqual(summary(ends('cancelled')), ['cancelled', 'cancelled', 'hi', 2, metadata]);
  assert.deepEqual(summary(ends('expired')), ['expired', 'expired', 'hi', 2, metadata]);
  assert.deepEqual(summary(endedWaiting(request, 'expired', 0, origin)), [
    'expired',
    'expired',
    '',
    0,
    metadata,
  ]);
  assert.deepEqual(summary(failed(request, 'engine_crashed', '', 3, origin)), [
    'error',
    'engine_crashed',
    '',
    3,
    metadata,
  ]);
  const refusal = { ...request, error: wireError('queue_full', '') };
  assert.deepEqual(summary(refused(refusal, origin)), ['rejected', 'queue_full', '', 0, metadata]);
});

test('a result that is too large is replaced by one without its text, under the same id', () => {
  const { id, status, text, error, usage } = tooLarge(okResult({ text: 'x'.repeat(9999) }), 9999, 1000);
  assert.deepEqual([id, status, text, error?.code], ['a', 'error', '', 'result_too_large']);
  assert.deepEqual(usage, okResult().usage);
});

test('the members of every result are in one order', () => {
  const request = promptRequest();
  const order = (result: object) => Object.keys(result).filter((name) => name !== 'error');
  const wanted = order(okResult());
  assert.deepEqual(order(answered(request, generated, 1, null, origin)), wanted);
  assert.deepEqual(order(endedWaiting(request, 'cancelled', 0, origin)), wanted);
  assert.deepEqual(order(tooLarge(okResult(), 2, 1)), wanted);
});

test('[SLMD-FMT-3] an answer that its engine calls whole and that is no JSON is an engine that failed, and no answer', () => {
  const request = promptRequest({ response_format: { type: 'json_object' } });
  const generated = {
    finish_reason: 'stop' as const,
    usage: usageOf(3),
    stamps: stampsOf(request.received_at, 1, 1, 1, 1),
  };
  const result = (text: string, format_complete: boolean) =>
    answered(request, { ...generated, text, format_complete }, 1, null, origin);
  assert.deepEqual([result('{"a":1}', true).status, result('{"a":1}', true).json], ['ok', { a: 1 }]);
  assert.deepEqual([result('{"a":', false).status, result('{"a":', false).json], ['ok', null]);
  const wrong = result('hello', true);
  assert.deepEqual([wrong.status, wrong.error?.code], ['error', 'engine_failed']);
});
