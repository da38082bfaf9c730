import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { generate, type IConnackPacket, type ISubackPacket, type Packet } from 'mqtt-packet';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { startProxy } from '../support/proxy.ts';
import { Stage } from '../support/stage.ts';
import { inTime } from '../support/wait.ts';
import type { Passing } from '../support/wire.ts';

/** The broker says something else than it said. */
function reworded(passing: Passing, packet: Packet, protocolVersion: 4 | 5 = 5): void {
  passing.bytes = generate(packet, { protocolVersion });
}

describe('a broker that is not like others', { skip: mosquittoMissing() }, () => {
  for (const [setting, code] of [
    ['retain_available false', 154],
    ['max_qos 0', 155],
  ] as const)
    test(`[SLMD-STA-4] that does not offer what slmd needs (${setting}) is said not to, and is no other device`, async (t) => {
      const stage = new Stage(t);
      const { url } = stage.add(await startMosquitto({ config: setting }));
      const { log } = stage.daemon({ url });
      const refused = ({ text }: { text: string }) => text.includes('"code":"unsuitable"');
      const lines = await log.atLeast(4, refused, `it says so four times; heard ${JSON.stringify(log.all)}`);
      assert.match(
        lines[0]?.text ?? '',
        new RegExp(`${url}.*Mosquitto: ${setting.split(' ')[0]}`),
        `${code}`,
      );
      assert.ok(!log.all.some(({ text }) => text.includes('duplicate_device')));
    });

  test('[SLMD-STA-5] that keeps no session, although it was asked to, leaves no prompt to the next process: a device that stops refuses it', async (t) => {
    const stage = new Stage(t);
    const broker = stage.add(await startMosquitto());
    const proxy = stage.add(await startProxy(broker));
    proxy.watch((passing) => {
      const { packet } = passing;
      if (packet.cmd !== 'connack') return undefined;
      const properties = { ...packet.properties, sessionExpiryInterval: 0 };
      reworded(passing, { ...packet, properties } as IConnackPacket);
      return undefined;
    });
    const requester = await stage.requester({ url: broker.url });
    const daemon = stage.daemon({ url: proxy.url });
    await requester.ready();
    await daemon.log.find(({ text }) => text.includes('session expiry'), 'it says what that means');
    await requester.event(await requester.send('slow 30'), 'started');
    const stopped = daemon.stop();
    await requester.status(({ state }) => state === 'draining');
    assert.equal((await requester.ask('echo too late')).error?.code, 'draining');
    await inTime(stopped, 'the daemon stops');
  });

  for (const [protocol, name, code, version] of [
    ['auto', 'MQTT 5', 135, 5],
    ['3.1.1', 'MQTT 3.1.1', 128, 4],
  ] as const)
    test(`[SLMD-STA-4] [FAULT-11] that refuses a subscription makes the device degraded with a line that names it, until it is granted, ${name}`, async (t) => {
      const stage = new Stage(t);
      const broker = stage.add(await startMosquitto());
      const proxy = stage.add(await startProxy(broker));
      let refuses = true;
      proxy.watch((passing) => {
        const { packet } = passing;
        if (packet.cmd !== 'suback' || !refuses) return undefined;
        // The third is the one to the prompts.
        const granted = (packet.granted as number[]).map((qos, i) => (i === 2 ? code : qos));
        reworded(passing, { ...packet, granted } as ISubackPacket, version);
        return undefined;
      });
      const requester = await stage.requester({ url: broker.url });
      stage.daemon({ url: proxy.url, settings: { mqtt: { protocol } } });
      const { why } = await requester.status(({ state }) => state === 'degraded');
      assert.match(why ?? '', new RegExp(`slmd/kitchen/prompt \\(code ${code}\\).*ACL`));
      refuses = false;
      await requester.ready();
      assert.equal(proxy.accepted, 1, 'it stays connected');
      assert.equal((await requester.ask('echo hi')).text, 'hi');
    });

  test('[SLMD-STA-4] that sends its clients elsewhere is not followed: the device says where to', async (t) => {
    const stage = new Stage(t);
    const broker = stage.add(await startMosquitto());
    const proxy = stage.add(await startProxy(broker));
    proxy.watch((passing) => {
      const { packet } = passing;
      if (packet.cmd !== 'connack') return undefined;
      const properties = { serverReference: 'other.example:1884' };
      reworded(passing, { ...packet, reasonCode: 157, sessionPresent: false, properties } as IConnackPacket);
      return undefined;
    });
    const { log } = stage.daemon({ url: proxy.url });
    const [line] = await log.atLeast(2, ({ text }) => text.includes('"code":"unsuitable"'), 'it says so');
    assert.match(line?.text ?? '', /other\.example:1884.*mqtt\.url/);
  });
});
