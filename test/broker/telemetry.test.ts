import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { latencyNames, rateNames } from '../../src/contract/telemetry.ts';
import { onEachBroker } from '../support/brokers.ts';
import { parsed, type TestRequester } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';

onEachBroker('telemetry', (kind) => {
  const stage = new Stage({ after });
  let requester: TestRequester;
  before(async () => {
    ({ requester } = await stage.ready(kind));
  });

  test('[SLMD-TEL-1] [SLMD-TEL-2] says everything from the start, and null where nothing was measured', async () => {
    const message = await requester.on('slmd/kitchen/telemetry');
    assert.deepEqual([message.qos, message.retain], [0, false]);
    const document = parsed<Record<string, unknown>>(message);
    assert.deepEqual(Object.keys(document), [
      'device',
      'boot',
      'seq',
      'uptime_s',
      'window_s',
      'latency',
      'rates',
      'counters',
      'queue',
      'board',
      'process',
    ]);
    const { latency, rates, counters, queue, board, process } = await requester.telemetry(() => true);
    assert.deepEqual(Object.keys(latency), latencyNames);
    assert.deepEqual(Object.keys(rates), rateNames);
    for (const percentiles of [...Object.values(latency), ...Object.values(rates)])
      assert.deepEqual(percentiles, { count: 0, p50: null, p95: null, p99: null, max: null });
    assert.deepEqual(counters.results, { ok: 0, error: 0, cancelled: 0, expired: 0, rejected: 0 });
    assert.deepEqual(queue, { depth: 0, bytes: 0, running: 0 });
    assert.ok(board.memory_total_bytes > 0 && process.daemon_rss_bytes > 0);
  });

  test('[SLMD-TEL-1] is numbered, comes at its interval, and belongs to the boot of the status', async () => {
    const { boot } = await requester.ready();
    const isTelemetry = ({ topic }: { topic: string }) => topic === 'slmd/kitchen/telemetry';
    const messages = await requester.heard.atLeast(4, isTelemetry, 'four documents');
    const documents = messages.map((message) => parsed<{ seq: number; boot: string }>(message));
    const [first] = documents;
    assert.deepEqual(
      documents.map(({ seq }) => seq - (first?.seq ?? 0)),
      [...documents.keys()],
    );
    assert.ok(documents.every((document) => document.boot === boot));
  });

  test('[SLMD-TEL-1] [SLMD-TEL-2] counts every end, and measures answers alone', async () => {
    const results = [];
    for (const prompt of ['slow 3', 'slow 3', 'slow 8', 'fail']) results.push(await requester.ask(prompt));
    await requester.askRaw('{');
    const id = await requester.send('slow 3000');
    await requester.event(id, 'started');
    const busy = await requester.telemetry(({ queue }) => queue.running === 1);
    assert.ok((busy.process.engine_rss_bytes ?? 0) > 0);
    await requester.cancel(id);
    results.push(await requester.result(id));
    await requester.ask({ prompt: 'slow 3000', deadline_ms: 50 });
    const { latency, rates, counters } = await requester.telemetry(
      ({ counters }) => counters.results.expired === 1,
    );
    assert.deepEqual(counters.results, { ok: 3, error: 1, cancelled: 1, expired: 1, rejected: 1 });
    assert.deepEqual(counters.errors, { engine_failed: 1, invalid_request: 1, cancelled: 1, expired: 1 });
    assert.deepEqual([counters.received, counters.accepted], [7, 6]);
    assert.ok(counters.completion_tokens >= 14);
    const totals = results.slice(0, 3).map(({ timings }) => timings?.total_ms ?? 0);
    const sorted = totals.toSorted((a, b) => a - b);
    assert.equal(latency.total_ms.count, 3);
    for (const [name, expected] of [
      ['p50', sorted[1]],
      ['p95', sorted[2]],
      ['p99', sorted[2]],
      ['max', sorted[2]],
    ] as const)
      assert.ok(Math.abs((latency.total_ms[name] ?? 0) / (expected ?? 1) - 1) < 0.011, name);
    assert.equal(latency.tpot_ms.count, 3);
    assert.ok((rates.decode_tokens_per_second.p50 ?? 0) > 1);
  });

  test('[SLMD-TEL-4] sums up what was guessed, accepted and run again, as results say it', async () => {
    const guesses = ['speculated_tokens', 'accepted_tokens', 'rerun_tokens'] as const;
    for (const prompt of ['guess once', 'echo', 'guess twice']) {
      const { usage } = await requester.ask(prompt);
      assert.deepEqual(
        guesses.map((name) => usage?.[name]),
        prompt === 'echo' ? [0, 0, 0] : [3, 2, 1],
      );
    }
    const { counters } = await requester.telemetry(({ counters }) => counters.speculated_tokens === 6);
    assert.deepEqual(
      guesses.map((name) => counters[name]),
      [6, 4, 2],
    );
  });
});
