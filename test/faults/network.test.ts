import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { startProxy } from '../support/proxy.ts';
import type { Message } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';
import { Trial } from '../support/trial.ts';
import { until } from '../support/wait.ts';
import type { Passing } from '../support/wire.ts';

const keepalive_s = 1;
/** One and a half keepalives and the longest pause before the next attempt; a busy machine may take longer. */
const backMs = 10_000;

describe('a network that fails under an inference', { concurrency: true }, () => {
  onEachBroker('a device', (kind) => {
    for (const [how, fail] of [
      ['is cut', (trial: Trial) => trial.proxy.cut()],
      ['forgets its connection without a word', (trial: Trial) => trial.proxy.forget()],
    ] as const)
      test(`[FAULT-3] [SLMD-RES-7] whose network ${how} is back within its keepalive, and answers once`, async (t) => {
        const trial = await Trial.open(t, kind, { settings: { mqtt: { keepalive_s } } });
        trial.start();
        await trial.requester.ready();
        const [id = ''] = await trial.send(1, 'slow 100');
        await trial.requester.event(id, 'started');
        const since = trial.requester.heard.mark;
        fail(trial);
        await trial.requester.ready({ since, ms: backMs });
        await trial.end();
        assert.equal(trial.ledger.runs(id).length, 1);
      });

    test('[FAULT-3] whose engine computes for longer than its keepalive without yielding stays connected, and telemetry flows', async (t) => {
      const stage = new Stage(t);
      const broker = stage.add(await kind.start());
      const proxy = stage.add(await startProxy(broker));
      const requester = await stage.requester({ url: broker.url, version: kind.version });
      const settings = { mqtt: { protocol: kind.protocol, keepalive_s } };
      const daemon = stage.daemon({ url: proxy.url, settings });
      await requester.ready();
      const connections = proxy.accepted;
      const id = await requester.send('block 4000');
      await requester.event(id, 'started');
      const since = requester.heard.mark;
      const downs = daemon.log.all.length;
      // The daemon is asked while its engine is deaf, and refuses at once.
      assert.equal((await requester.askRaw('{')).error?.code, 'invalid_request');
      const { text, timings } = await requester.result(id);
      assert.equal(text, 'unblocked');
      assert.ok((timings?.total_ms ?? 0) >= 3 * keepalive_s * 1000);

      const during = requester.heard.all.slice(since);
      const telemetry = during.filter(({ topic }) => topic === 'slmd/kitchen/telemetry');
      assert.ok(telemetry.length >= 10, `${telemetry.length} of some 20 documents`);
      const lags = telemetry.map(
        ({ payload }) => JSON.parse(payload.toString()).process.event_loop_lag_p99_ms,
      );
      assert.ok(lags.toSorted((a, b) => a - b)[Math.floor(lags.length / 2)] < 100, `lag ${lags}`);
      assert.ok(!during.some(({ topic }) => topic === 'slmd/kitchen/status'), 'it never went away');
      assert.equal(proxy.accepted, connections);
      assert.ok(!daemon.log.all.slice(downs).some(({ text }) => text.includes('retry_ms')));
    });

    test('[FAULT-5] with results to send and prompts that come again it connects at once, and both are done', async (t) => {
      const trial = await Trial.open(t, kind);
      const device = trial.start();
      await trial.requester.ready();
      // The prompts arrive and are answered, but neither their PUBACKs nor their results come through.
      trial.proxy.watch(({ from, packet, topic }) => {
        return from === 'device' && (packet.cmd === 'puback' || topic?.includes('/result/'))
          ? 'drop'
          : undefined;
      });
      const ids = await trial.send(4, 'slow 1');
      await device.log.atLeast(ids.length, ({ text }) => text.includes('"ended"'), 'each is answered');
      const acknowledged = new Set<number>();
      let redelivered = 0;
      trial.proxy.watch(({ from, packet, topic }) => {
        if (!topic?.endsWith('/prompt')) return undefined;
        if (from === 'broker') redelivered++;
        if (packet.cmd === 'puback') acknowledged.add(packet.messageId ?? 0);
        return undefined;
      });
      const since = trial.requester.heard.mark;
      trial.proxy.cut();
      await trial.requester.ready({ since, ms: backMs });
      await until(() => acknowledged.size === ids.length || undefined, 'each prompt is acknowledged');
      assert.ok(redelivered >= ids.length, `${redelivered} of ${ids.length} came again`);
      await trial.end();
      for (const id of ids) assert.equal(trial.ledger.runs(id).length, 1);
    });

    test('[FAULT-19] [SLMD-ID-2] a prompt that comes again on the same connection, before it is acknowledged and after, is computed once', async (t) => {
      const trial = await Trial.open(t, kind);
      trial.start();
      await trial.requester.ready();
      let first: Passing | null = null;
      trial.proxy.watch((passing) => {
        if (first !== null || passing.packet.cmd !== 'publish' || !passing.topic?.endsWith('/prompt'))
          return undefined;
        first = passing;
        // They follow the packet at once, while it is on its way to the disk.
        setImmediate(() => {
          for (let again = 0; again < 3; again++) trial.proxy.redeliver(passing);
        });
        return undefined;
      });
      const [id = ''] = await trial.send(1, 'slow 5');
      await trial.requester.event(id, 'started');
      trial.proxy.redeliver(first!);
      await trial.ledger.answered();
      trial.proxy.redeliver(first!);
      const result = ({ topic }: Message) => topic === `slmd/kitchen/result/${id}`;
      await trial.requester.heard.atLeast(2, result, 'the stored result comes again');
      await trial.end();
      assert.equal(trial.ledger.runs(id).length, 1);
    });

    test('[FAULT-20] [SLMD-TOK-1] [SLMD-TOK-3] after a kill under way the pieces start over with the next attempt, and the result is whole', async (t) => {
      const trial = await Trial.open(t, kind);
      trial.start();
      await trial.requester.ready();
      const [id = ''] = await trial.send(1, 'slow 20');
      await trial.requester.on(`slmd/kitchen/token/${id}`);
      await trial.device.kill('SIGKILL');
      trial.start();
      const { text, attempt } = await trial.requester.result(id);
      await trial.end();
      const pieces = trial.requester.tokens(id);
      const last = pieces.filter((piece) => piece.attempt === attempt);
      assert.equal(attempt, 2);
      assert.ok(pieces.some((piece) => piece.attempt === 1));
      assert.match(text, /^t0 .*t19 $/);
      // The first ones may have found no connection yet; those that did are in order, and of this attempt.
      assert.ok(text.endsWith(last.map((piece) => piece.text).join('')));
      assert.deepEqual(
        last.map(({ seq }) => seq),
        last.map((_, i) => i + (last[0]?.seq ?? 0)),
      );
    });
  });
});
