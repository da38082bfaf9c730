import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Settings } from '../support/daemon.ts';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { Stage } from '../support/stage.ts';

const passwords = { kitchen: 'right', tester: 'tester' };
const asTester = { username: 'tester', password: 'tester' };
const everything = 'user tester\ntopic readwrite #\n';
const whole = `${everything}user kitchen\ntopic readwrite slmd/kitchen/#\ntopic readwrite homeassistant/#\n`;
/** The two lines of the contract, and a place for answers; `result` and `probe` as each test wants. */
const without = (denied: string) => `${whole}topic deny slmd/kitchen/${denied}\n`;

const credentials = { username: 'kitchen', password: 'right' };

describe('a broker that asks who it is', { skip: mosquittoMissing() }, () => {
  const stageWith = async (t: { after(clean: () => Promise<void>): void }, acl: string, mqtt: Settings) => {
    const stage = new Stage(t);
    const broker = stage.add(await startMosquitto({ passwords, acl }));
    const requester = await stage.requester({ url: broker.url, client: asTester });
    const daemon = stage.daemon({ url: broker.url, settings: { mqtt: { ...credentials, ...mqtt } } });
    return { broker, requester, daemon };
  };

  for (const [protocol, name] of [
    ['auto', 'MQTT 5'],
    ['3.1.1', 'MQTT 3.1.1'],
  ] as const) {
    test(`[FAULT-12] a device with the wrong password says so, tries on, and recovers when it is mended, ${name}`, async (t) => {
      const { broker, requester, daemon } = await stageWith(t, whole, { protocol, password: 'wrong' });
      const refused = ({ text }: { text: string }) => text.includes('"code":"credentials"');
      const [first] = await daemon.log.atLeast(3, refused, 'three refusals');
      assert.match(first?.text ?? '', /mqtt\.username.*mqtt\.password_file/);
      assert.ok(!daemon.log.all.some(({ text }) => /wrong|retry_ms":0/.test(text)));
      broker.reconfigure({ passwords: { ...passwords, kitchen: 'wrong' } });
      await requester.ready();
    });

    test(`[FAULT-11] [SLMD-STA-4] a device whose probe is not delivered is degraded, and says why, until the ACL is mended, ${name}`, async (t) => {
      const { broker, requester } = await stageWith(t, without('probe'), { protocol });
      const { why } = await requester.status(({ state }) => state === 'degraded');
      assert.match(why ?? '', /slmd\/kitchen\/probe.*ACL/);
      const since = requester.heard.mark;
      broker.reconfigure({ acl: whole });
      await requester.ready({ since });
    });
  }

  test('[SLMD-STA-4] a device whose events are refused is degraded too, and says it once, MQTT 5', async (t) => {
    const { broker, requester, daemon } = await stageWith(t, without('event/#'), {});
    await requester.ready();
    for (const prompt of ['echo 1', 'echo 2']) assert.equal((await requester.ask(prompt)).status, 'ok');
    const { why } = await requester.status(({ state }) => state === 'degraded');
    assert.match(why ?? '', /slmd\/kitchen\/event\/… \(code 135\)/);
    assert.equal(daemon.log.all.filter(({ level }) => level === 'error').length, 1);
    const since = requester.heard.mark;
    broker.reconfigure({ acl: whole });
    await requester.ask('echo 3');
    await requester.ready({ since });
  });

  test('[FAULT-11] [SLMD-STA-4] [SLMD-PRO-2] a device whose results are refused is degraded with the code, and delivers them when the ACL is mended, MQTT 5', async (t) => {
    const { broker, requester, daemon } = await stageWith(t, without('result/#'), { protocol: '5.0' });
    await requester.ready();
    await requester.send({ id: 'secret-id', prompt: 'echo hello' });
    const { why } = await requester.status(({ state }) => state === 'degraded');
    assert.match(why ?? '', /slmd\/kitchen\/result\/… \(code 135\).*ACL/);
    assert.ok(!why?.includes('secret-id'));
    await requester.send('echo again');
    await daemon.log.atLeast(2, ({ text }) => text.includes('ended'), 'it works on');
    assert.equal(
      daemon.log.all.filter(({ text }) => text.includes('retry_ms')).length,
      0,
      'it stays connected',
    );
    const since = requester.heard.mark;
    broker.reconfigure({ acl: whole });
    assert.equal((await requester.result('secret-id')).text, 'hello');
    await requester.ready({ since });
  });

  test('[SLMD-STA-4] a device whose info is refused says it again when the ACL is mended, MQTT 5', async (t) => {
    const { broker, requester } = await stageWith(t, without('info'), { protocol: '5.0' });
    const { why } = await requester.status(({ state }) => state === 'degraded');
    assert.match(why ?? '', /slmd\/kitchen\/info \(code 135\)/);
    broker.reconfigure({ acl: whole });
    await requester.info();
    await requester.ready();
  });
});
