import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Result } from '../../src/contract/result.ts';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { parsed, type TestRequester } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const responseTopic = 'slmd/tester/response/1';

/** A device that has not measured itself yet: it takes any deadline. */
async function unmeasured(t: TestContext): Promise<TestRequester> {
  const stage = new Stage(t);
  const { url } = stage.add(await startMosquitto());
  const requester = await stage.requester({ url });
  stage.daemon({ url });
  await requester.ready();
  return requester;
}

describe('the properties of MQTT 5', { skip: mosquittoMissing() }, () => {
  const stage = new Stage({ after });
  let requester: TestRequester;
  before(async () => {
    const { url } = stage.add(await startMosquitto());
    requester = await stage.requester({ url });
    stage.daemon({ url });
    await requester.ready();
  });

  test('[SLMD-MQTT-1] a Response Topic gets a copy of the result, with the Correlation Data unchanged', async () => {
    const correlationData = Buffer.from([0, 255, 128, 10]);
    const id = await requester.send('echo hello', { properties: { responseTopic, correlationData } });
    const copy = await requester.on(responseTopic);
    const original = await requester.on(`slmd/kitchen/result/${id}`);
    assert.deepEqual(copy.payload, original.payload);
    assert.deepEqual(copy.correlation, correlationData);
    assert.equal(original.correlation, undefined);
  });

  test('[SLMD-MQTT-1] a refusal is copied to the Response Topic too', async () => {
    const properties = { responseTopic: 'slmd/tester/response/refused' };
    await requester.publish('slmd/kitchen/prompt', '{', { properties });
    const copy = parsed<Result>(await requester.on(properties.responseTopic));
    assert.equal(copy.error?.code, 'invalid_request');
  });

  test('[SLMD-MQTT-1] a Response Topic outside the list is refused on the result topic, and nothing goes there', async () => {
    for (const forbidden of ['slmd/kitchen/prompt', 'slmd/victim/prompt', 'elsewhere/response/1']) {
      const { status, error } = await requester.ask('echo hello', {
        properties: { responseTopic: forbidden },
      });
      assert.deepEqual([status, error?.code], ['rejected', 'response_topic_forbidden']);
    }
    await requester.echo();
    const victims = requester.heard.all.filter(({ topic }) => /victim|elsewhere/.test(topic));
    assert.deepEqual(victims, []);
  });

  test('[SLMD-ID-1] a redelivery without an id is known by its Response Topic and Correlation Data', async () => {
    const properties = { responseTopic: 'slmd/tester/response/2', correlationData: Buffer.from('q1') };
    const copies = ({ topic }: { topic: string }) => topic === properties.responseTopic;
    for (const _ of [1, 2]) await requester.publish('slmd/kitchen/prompt', 'options', { properties });
    await requester.publish('slmd/kitchen/prompt', 'options', {
      properties: { ...properties, correlationData: Buffer.from('q2') },
    });
    const [first, second] = await requester.heard.atLeast(2, copies, 'two answers');
    const ids = [first, second].map((message) => message && parsed<Result>(message).id);
    assert.match(ids[0] ?? '', /^c-/);
    await requester.publish('slmd/kitchen/prompt', 'options', { properties });
    const all = await requester.heard.atLeast(3, copies, 'the first once more');
    const same = all.filter((message) => message.correlation?.toString() === 'q1');
    assert.equal(new Set(same.map(({ payload }) => payload.toString())).size, 1);
  });

  test('[FAULT-18] [SLMD-MQTT-2] a message that expires in the queue ends as expired, without any work', async (t) => {
    const requester = await unmeasured(t);
    const running = await requester.send('slow 3000');
    await requester.event(running, 'started');
    const { status, attempt } = await requester.ask('echo late', {
      properties: { messageExpiryInterval: 1 },
    });
    assert.deepEqual([status, attempt], ['expired', 0]);
  });

  test('[SLMD-MQTT-2] a message that expires under way ends with the text there was', async (t) => {
    const requester = await unmeasured(t);
    const { status, text } = await requester.ask('slow 3000', { properties: { messageExpiryInterval: 1 } });
    assert.equal(status, 'expired');
    assert.match(text, /^t0 /);
  });

  test('[SLMD-MQTT-2] of the expiry and deadline_ms the earlier counts', async (t) => {
    const requester = await unmeasured(t);
    const request = { prompt: 'slow 3000', deadline_ms: 100 };
    const { status, timings } = await requester.ask(request, { properties: { messageExpiryInterval: 60 } });
    assert.equal(status, 'expired');
    assert.ok((timings?.total_ms ?? 0) < 5000);
  });

  test('[SLMD-MQTT-3] a traceparent is carried through to the result and its copy', async () => {
    const properties = {
      responseTopic: 'slmd/tester/response/3',
      userProperties: { traceparent, other: 'x' },
    };
    const id = await requester.send('echo hello', { properties });
    for (const topic of [properties.responseTopic, `slmd/kitchen/result/${id}`])
      assert.deepEqual((await requester.on(topic)).user_properties, { traceparent });
    const { id: refused } = await requester.ask(
      { prompt: 7 },
      { properties: { userProperties: { traceparent } } },
    );
    assert.deepEqual((await requester.on(`slmd/kitchen/result/${refused}`)).user_properties, { traceparent });
  });
});
