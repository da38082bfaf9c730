import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes } from '../../src/contract/errors.ts';
import type { Result } from '../../src/contract/result.ts';
import type { Telemetry } from '../../src/contract/telemetry.ts';
import { type BrokerKind, onEachBroker } from '../support/brokers.ts';
import { Fuzzer } from '../support/fuzzer.ts';
import { isResult, parsed } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';

const payloads = 1000;
const seed = 20_260_101;
/** As many as the device lets wait; the next are sent when these are answered. */
const batch = 50;

onEachBroker('a device that is sent anything', (kind: BrokerKind) => {
  test(`[SLMD-RES-1] [SLMD-REQ-2] [SLMD-REQ-5] answers or refuses each of ${payloads} malformed payloads, and works on`, async (t) => {
    const limits = { queue_depth_max: 1000, payload_bytes_max: 262_144 };
    const { requester, daemon } = await new Stage(t).ready(kind, { settings: { limits } });
    const fuzzer = new Fuzzer(seed);
    const connected = daemon.log.mark;
    let prompts = 0;
    for (let sent = 0; sent < payloads; sent += batch) {
      const messages = Array.from({ length: batch }, () => fuzzer.next('slmd/kitchen'));
      await Promise.all(messages.map(({ topic, payload }) => requester.publish(topic, payload)));
      prompts += messages.filter(({ topic }) => topic === 'slmd/kitchen/prompt').length;
      await requester.heard.atLeast(prompts, isResult, `${prompts} results after ${sent + batch} payloads`);
    }
    assert.equal((await requester.ask('echo hello')).text, 'hello');
    const results = requester.heard.all.filter(isResult).map((message) => parsed<Result>(message));
    assert.equal(results.length, prompts + 1, 'one result for each prompt');
    const wrong = results.filter(({ status, error }) => (status === 'ok') !== (error === undefined));
    assert.deepEqual(wrong, []);
    const codes = new Set(results.flatMap(({ error }) => (error === undefined ? [] : [error.code])));
    for (const code of codes) assert.ok(code in errorCodes, code);
    assert.ok(codes.has('invalid_request') && codes.has('unknown_field') && codes.size >= 3);
    assert.ok(results.filter(({ status }) => status === 'ok').length >= 20, 'some were right by chance');
    assert.ok(
      !daemon.log.all.slice(connected).some(({ text }) => text.includes('retry_ms')),
      'the connection lived on',
    );
    const ends = ({ counters }: Telemetry) =>
      Object.values(counters.results).reduce((sum, count) => sum + count, 0);
    const last = await requester.telemetry((document) => ends(document) > prompts);
    assert.deepEqual([last.counters.received, ends(last)], [prompts + 1, prompts + 1]);
  });
});
