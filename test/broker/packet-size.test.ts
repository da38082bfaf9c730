import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { Stage } from '../support/stage.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

describe('a broker that takes only small packets', { skip: mosquittoMissing() }, () => {
  for (const [protocol, version, closesMax] of [
    ['auto', 5, 0],
    ['3.1.1', 4, 4],
  ] as const)
    test(`[FAULT-10] [SLMD-RES-6] gets an error instead of a large result, and the connection lives on, MQTT ${version}`, async (t) => {
      const stage = new Stage(t);
      // The largest document besides a result is Home Assistant's discovery.
      const { url } = stage.add(await startMosquitto({ config: 'max_packet_size 4000' }));
      const requester = await stage.requester({ url, version });
      const daemon = stage.daemon({ url, settings: { mqtt: { protocol } } });
      await requester.ready();
      const metadata = { padding: 'x'.repeat(900) };
      const properties = version === 5 ? { properties: { userProperties: { traceparent } } } : {};
      const large = await requester.ask({ prompt: 'long 9000', stream: false, metadata }, properties);
      assert.deepEqual([large.status, large.error?.code, large.text], ['error', 'result_too_large', '']);
      assert.equal((await requester.ask('echo hello')).text, 'hello');
      const closes = daemon.log.all.filter(({ text }) => text.includes('retry_ms')).length;
      assert.ok(closes <= closesMax, `${closes} closes`);
    });

  test('[SLMD-RES-6] gets an error that fits, even where the metadata does not', async (t) => {
    const stage = new Stage(t);
    const { url } = stage.add(await startMosquitto({ config: 'max_packet_size 1500' }));
    const requester = await stage.requester({ url });
    const daemon = stage.daemon({ url, settings: { home_assistant: { discovery: false } } });
    // Info and telemetry are larger than that, and the first of them says so.
    const { why } = await requester.status(({ state }) => state === 'degraded');
    assert.match(why ?? '', /too small for slmd\/kitchen\/(info|telemetry)/);
    const { error } = await requester.ask({
      prompt: 'long 9000',
      stream: false,
      metadata: { a: 'x'.repeat(900) },
    });
    assert.equal(error?.code, 'result_too_large');
    assert.ok(!daemon.log.all.some(({ text }) => text.includes('retry_ms')));
  });
});
