import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  answered,
  endedWaiting,
  failed,
  type Origin,
  refused,
  tooLarge,
} from '../../src/contract/compose.ts';
import { errorCodes, wireError } from '../../src/contract/errors.ts';
import { timingsOf } from '../../src/contract/result.ts';
import {
  devicePattern,
  idPattern,
  prefixPattern,
  topicMatches,
  topicsOf,
} from '../../src/contract/topics.ts';
import { refusalOf, requestOf } from '../support/messages.ts';

const origin: Origin = {
  device: 'kitchen',
  model: 'fake',
  board: { soc_temp_c: 51.2, throttled: [], energy_j: null, energy_source: 'none' },
};
const usage = {
  prompt_tokens: 42,
  cached_tokens: 2,
  completion_tokens: 11,
  speculated_tokens: 0,
  accepted_tokens: 0,
  rerun_tokens: 0,
};
const stamps = { started_at: 1010, tokenized_at: 1011.5, first_token_at: 1031.5, last_token_at: 1131.5 };

test('[SLMD-RES-4] every duration follows from the stamps', () => {
  assert.deepEqual(timingsOf({ received_at: 1000, ...stamps }, usage), {
    queue_ms: 10,
    tokenize_ms: 1.5,
    prefill_ms: 20,
    decode_ms: 100,
    total_ms: 131.5,
    ttft_ms: 31.5,
    tpot_ms: 10,
    prefill_tokens_per_second: 2000,
    decode_tokens_per_second: 100,
  });
});

test('[SLMD-RES-4] without a second token there is no time per token, and no rate', () => {
  const one = timingsOf({ received_at: 1000, ...stamps }, { ...usage, completion_tokens: 1 });
  assert.deepEqual([one.tpot_ms, one.decode_tokens_per_second], [null, null]);
});

test('[SLMD-RES-2] the members of a result are in one order, and only what is not ok has an error', () => {
  const request = requestOf({ id: 'a1', prompt: 'hi', metadata: { a: 1 } });
  const generated = { text: 'yes', format_complete: false, finish_reason: 'stop' as const, usage, stamps };
  const order = 'id device model status text finish_reason error usage timings board attempt metadata'.split(
    ' ',
  );
  const ok = answered(request, generated, 1, null, origin);
  assert.deepEqual(
    Object.keys(ok),
    order.filter((name) => name !== 'error'),
  );
  const others = [
    answered(request, { ...generated, finish_reason: 'cancelled' }, 1, 'cancelled', origin),
    endedWaiting(request, 'expired', 0, origin),
    failed(request, 'engine_crashed', 'it ended', 3, origin),
    refused({ ...refusalOf({ id: 'a1' }) }, origin),
  ];
  for (const result of others) assert.deepEqual(Object.keys(result), order);
  assert.deepEqual(
    others.map(({ status }) => status),
    ['cancelled', 'expired', 'error', 'rejected'],
  );
  assert.deepEqual(
    others.map(({ attempt }) => attempt),
    [1, 0, 3, 0],
  );
});

test('[SLMD-RES-3] a cancelled answer keeps the text there was', () => {
  const generated = {
    text: 'as far as',
    format_complete: false,
    finish_reason: 'cancelled' as const,
    usage,
    stamps,
  };
  const { text, finish_reason, error } = answered(requestOf('hi'), generated, 1, 'cancelled', origin);
  assert.deepEqual([text, finish_reason, error?.code], ['as far as', 'cancelled', 'cancelled']);
});

test('[SLMD-RES-6] a result that is too large is an error without its text, under the same id', () => {
  const generated = {
    text: 'x'.repeat(9000),
    format_complete: false,
    finish_reason: 'stop' as const,
    usage,
    stamps,
  };
  const result = tooLarge(
    answered(requestOf({ id: 'a1', prompt: 'hi' }), generated, 1, null, origin),
    9500,
    4000,
  );
  assert.deepEqual([result.id, result.status, result.text], ['a1', 'error', '']);
  assert.deepEqual([result.error?.code, result.finish_reason], ['result_too_large', null]);
});

test('[SLMD-ERR-1] the codes are a closed list, each with a meaning and whether to try again', () => {
  const listed =
    'invalid_request unknown_field payload_too_large prompt_too_long schema_unsupported retained_request response_topic_forbidden queue_full draining deadline_unmeetable expired cancelled model_not_ready engine_crashed engine_stalled engine_failed out_of_memory result_too_large storage_full';
  assert.deepEqual(Object.keys(errorCodes), listed.split(' '));
  for (const { meaning } of Object.values(errorCodes)) assert.match(meaning, /^[A-Z].*\.$/);
  const retryable = Object.entries(errorCodes).flatMap(([code, known]) => (known.retryable ? [code] : []));
  assert.deepEqual(
    retryable,
    'queue_full draining deadline_unmeetable model_not_ready engine_crashed engine_stalled out_of_memory storage_full'.split(
      ' ',
    ),
  );
  assert.deepEqual(wireError('queue_full', 'full', 10.2), {
    code: 'queue_full',
    message: 'full',
    retryable: true,
    retry_after_ms: 11,
  });
});

test('[SLMD-TOPIC-1] topics are where the contract says', () => {
  const { event, token, result, ...fixed } = topicsOf('slmd', 'kitchen');
  assert.deepEqual(Object.values(fixed), [
    'slmd/kitchen/prompt',
    'slmd/kitchen/cancel',
    'slmd/kitchen/ack',
    'slmd/kitchen/status',
    'slmd/kitchen/info',
    'slmd/kitchen/telemetry',
    'slmd/kitchen/probe',
  ]);
  assert.deepEqual(
    [event('a'), token('a'), result('a')],
    ['slmd/kitchen/event/a', 'slmd/kitchen/token/a', 'slmd/kitchen/result/a'],
  );
});

test('[SLMD-TOPIC-2] names that could reach into other topics are none', () => {
  for (const name of ['', 'a/b', '+', '#', 'A', '-a', '_a', 'a b', 'ä', 'a'.repeat(64), 'a\n'])
    assert.ok(!devicePattern.test(name), JSON.stringify(name));
  for (const name of ['a', '0', 'kitchen-2_b', 'a'.repeat(63)]) assert.ok(devicePattern.test(name), name);
  for (const id of ['', 'a/b', '+', '#', 'a\n', 'x'.repeat(129)]) assert.ok(!idPattern.test(id), id);
  for (const prefix of ['', '/', 'a/', '/a', 'a//b', '+', 'a/#', '$SYS'])
    assert.ok(!prefixPattern.test(prefix), prefix);
});

test('[SLMD-MQTT-1] topic filters match as MQTT says', () => {
  const matches: [string, string, boolean][] = [
    ['slmd/+/response/#', 'slmd/a/response/b/c', true],
    ['slmd/+/response/#', 'slmd/a/response', true],
    ['slmd/+/response/#', 'slmd/a/b/response/c', false],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['a', 'a/b', false],
    ['#', 'a/b', true],
    ['#', '$SYS/a', false],
    ['+/a', '$SYS/a', false],
    ['$SYS/#', '$SYS/a', true],
  ];
  for (const [filter, topic, expected] of matches)
    assert.equal(topicMatches(filter, topic), expected, `${filter} ${topic}`);
});
