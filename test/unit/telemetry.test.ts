import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { wireError } from '../../src/contract/errors.ts';
import { discoveryOf } from '../../src/contract/home-assistant.ts';
import {
  latencyNames,
  rateNames,
  type Telemetry as TelemetryDocument,
} from '../../src/contract/telemetry.ts';
import { topicsOf } from '../../src/contract/topics.ts';
import { Board } from '../../src/telemetry/board.ts';
import { Telemetry } from '../../src/telemetry/telemetry.ts';
import { requestOf } from '../support/messages.ts';
import { okResult } from '../support/results.ts';
import { temporaryDir } from '../support/temporary.ts';

function telemetryOf(context: TestContext, publish: (document: TelemetryDocument) => void = () => undefined) {
  return new Telemetry({
    device: 'kitchen',
    boot: 'b00t',
    interval_ms: 10_000,
    window_ms: 300_000,
    board: new Board(temporaryDir(context, { 'proc/77/status': 'VmRSS:\t  2048 kB\n' })),
    queue: () => ({ depth: 3, bytes: 30, running: 1 }),
    enginePid: () => 77,
    publish,
  });
}

test('an answer counts in every percentile that it has a time for', (context) => {
  const telemetry = telemetryOf(context);
  telemetry.record(okResult());
  const { latency, rates } = telemetry.document();
  for (const name of latencyNames) assert.equal(latency[name].count, 1, name);
  for (const name of rateNames) assert.equal(rates[name].count, 1, name);
  assert.deepEqual([latency.total_ms.max, rates.decode_tokens_per_second.max], [73, 100]);
});

test('a time that is null counts in no percentile', (context) => {
  const telemetry = telemetryOf(context);
  const { timings } = okResult();
  if (timings !== null) telemetry.record(okResult({ timings: { ...timings, tpot_ms: null } }));
  const { latency } = telemetry.document();
  assert.deepEqual([latency.tpot_ms.count, latency.tpot_ms.p50, latency.ttft_ms.count], [0, null, 1]);
});

test('[SLMD-TEL-2] only answers count in percentiles, whatever timings the others have', (context) => {
  const telemetry = telemetryOf(context);
  for (const status of ['error', 'cancelled', 'expired', 'rejected'] as const)
    telemetry.record(okResult({ status, error: wireError('cancelled', '') }));
  const { latency, rates } = telemetry.document();
  for (const { count, p50, max } of [...Object.values(latency), ...Object.values(rates)])
    assert.deepEqual([count, p50, max], [0, null, null]);
});

test('[SLMD-TEL-4] counters count each result by its status, its code and its tokens', (context) => {
  const telemetry = telemetryOf(context);
  for (const result of [
    okResult(),
    okResult(),
    okResult({ status: 'cancelled', error: wireError('cancelled', '') }),
    okResult({ status: 'rejected', error: wireError('queue_full', ''), usage: null, timings: null }),
    okResult({ status: 'rejected', error: wireError('queue_full', ''), usage: null, timings: null }),
  ])
    telemetry.record(result);
  const { results, errors, ...counters } = telemetry.document().counters;
  assert.deepEqual(results, { ok: 2, error: 0, cancelled: 1, expired: 0, rejected: 2 });
  assert.deepEqual(errors, { cancelled: 1, queue_full: 2 });
  const { prompt_tokens, cached_tokens, completion_tokens } = counters;
  assert.deepEqual([prompt_tokens, cached_tokens, completion_tokens], [30, 12, 15]);
  const { speculated_tokens, accepted_tokens, rerun_tokens } = counters;
  assert.deepEqual([speculated_tokens, accepted_tokens, rerun_tokens], [9, 6, 3]);
});

test('a document is numbered, tells of queue and engine, and does not change afterwards', (context) => {
  const telemetry = telemetryOf(context);
  const first = telemetry.document();
  telemetry.record(okResult());
  const second = telemetry.document();
  assert.deepEqual([first.seq, second.seq], [0, 1]);
  assert.deepEqual([first.counters.results.ok, second.counters.results.ok], [0, 1]);
  assert.deepEqual(second.queue, { depth: 3, bytes: 30, running: 1 });
  assert.deepEqual([second.device, second.boot, second.window_s], ['kitchen', 'b00t', 300]);
  assert.equal(second.process.engine_rss_bytes, 2048 * 1024);
  assert.ok(second.process.daemon_rss_bytes > 0 && second.process.event_loop_lag_p99_ms >= 0);
});

test('a document holds nothing but what JSON can say, and no text of a request', (context) => {
  const telemetry = telemetryOf(context);
  telemetry.record(okResult({ id: 'secret-id', text: 'secret text', metadata: { secret: 1 } }));
  const document = telemetry.document();
  const json = JSON.stringify(document);
  assert.deepEqual(JSON.parse(json), document);
  assert.ok(!json.includes('secret'));
});

test('documents are published at the interval until telemetry stops', (context) => {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const published: number[] = [];
  const telemetry = telemetryOf(context, ({ seq }) => published.push(seq));
  telemetry.start();
  context.after(() => telemetry.stop());
  context.mock.timers.tick(9999);
  assert.deepEqual(published, []);
  context.mock.timers.tick(20_001);
  assert.deepEqual(published, [0, 1, 2]);
  telemetry.stop();
  telemetry.stop();
  context.mock.timers.tick(60_000);
  assert.deepEqual(published, [0, 1, 2]);
});

test('every value that Home Assistant is told to read is in a real document', (context) => {
  const telemetry = telemetryOf(context);
  telemetry.record(okResult());
  const topics = topicsOf('slmd', 'kitchen');
  const documents: Record<string, unknown> = {
    [topics.telemetry]: telemetry.document(),
    [topics.status]: { state: 'ready', boot: 'b00t', birth: 1, why: null },
  };
  const board = {
    ...new Board().identity(),
    profile: 'none',
    profile_chosen_by: 'none' as const,
    profile_settings: {},
  };
  const { topic, payload } = discoveryOf({ device: 'kitchen', version: '1.2.3', board }, topics, 'ha');
  assert.equal(topic, 'ha/device/slmd_kitchen/config');
  const { cmps, avty_t } = JSON.parse(payload) as Discovery;
  assert.equal(avty_t, topics.status);
  for (const [name, { p, stat_t, val_tpl }] of Object.entries(cmps)) {
    if (p !== 'sensor') continue;
    const path = /^\{\{ value_json\.(\S+) \}\}$/.exec(val_tpl)?.[1]?.split('.') ?? [];
    const value = path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], documents[stat_t]);
    assert.notEqual(value, undefined, `${name}: ${val_tpl}`);
  }
  const ids = Object.values(cmps).map(({ unique_id }) => unique_id);
  assert.equal(new Set(ids).size, ids.length);
});

interface Discovery {
  avty_t: string;
  cmps: Record<
    string,
    { p: string; stat_t: string; val_tpl: string; unique_id: string; cmd_t?: string; cmd_tpl?: string }
  >;
}

test('[SLMD-HA-1] what Home Assistant sends to the notify entity is a prompt, whatever it begins with', () => {
  const topics = topicsOf('slmd', 'kitchen');
  const board = {
    ...new Board().identity(),
    profile: 'none',
    profile_chosen_by: 'none' as const,
    profile_settings: {},
  };
  const { payload } = discoveryOf({ device: 'kitchen', version: '1.2.3', board }, topics, 'ha');
  const notify = (JSON.parse(payload) as Discovery).cmps.prompt;
  assert.deepEqual([notify?.p, notify?.cmd_t], ['notify', topics.prompt]);
  // As far as its templates go here: an object of texts and variables, as JSON.
  const object = /^\{\{ (\{.*\}) \| tojson \}\}$/.exec(notify?.cmd_tpl ?? '')?.[1] ?? assert.fail();
  for (const value of ['is a "window" open?', '{ "lamp": on', '{"prompt":"x"}']) {
    const sent = JSON.stringify(JSON.parse(object.replaceAll(/\bvalue\b/g, () => JSON.stringify(value))));
    assert.deepEqual(requestOf(sent).messages, [{ role: 'user', content: value }]);
  }
});
