import assert from 'node:assert/strict';
import { test } from 'node:test';
import { topicsOf } from '../../src/contract/topics.ts';
import { reasonCodes } from '../../src/mqtt/client.ts';
import { Presence } from '../../src/mqtt/presence.ts';
import { FakeConnection } from '../support/fake-connection.ts';
import { settled } from '../support/wait.ts';

const topics = topicsOf('slmd', 'kitchen');

function presenceOf() {
  const refused: [string, number][] = [];
  const info = {
    device: 'kitchen',
    version: '1',
    boot: 'b00t',
    board: {
      model: null,
      arch: 'x64',
      cpu: null,
      cpu_features: [],
      cores: 1,
      memory_bytes: 1,
      profile: 'p',
      profile_chosen_by: 'model' as const,
      profile_settings: {},
    },
    engine: null,
    model: null,
    bench: null,
    limits: { payload_bytes_max: 1, queue_depth_max: 1, queue_bytes_max: 1, deadline_default_ms: null },
    features: [],
  };
  const presence = new Presence({
    topics,
    boot: 'b00t',
    info: () => info,
    extras: () => [{ topic: 'extra', payload: '{}' }],
    answered: (topic, code) => {
      if (code >= reasonCodes.failure) refused.push([topic, code]);
    },
    changed: () => undefined,
  });
  return { presence, refused };
}

/** The states that a connection was told, in order. */
function states({ published }: FakeConnection): string[] {
  return published
    .filter(({ topic }) => topic === topics.status)
    .map(({ payload }) => (JSON.parse(payload) as { state: string }).state);
}

test('the state follows from engine, conditions and draining, in this order of weight', () => {
  const { presence } = presenceOf();
  const state = () => presence.status.state;
  const why = () => presence.status.why;
  assert.equal(state(), 'starting');
  presence.engineReady(true);
  assert.deepEqual([state(), why()], ['ready', null]);
  presence.condition('probe', 'no echo');
  presence.condition('acl', 'no rights');
  assert.deepEqual([state(), why()], ['degraded', 'no echo; no rights']);
  presence.condition('probe', null);
  assert.equal(why(), 'no rights');
  presence.condition('acl', null);
  assert.equal(state(), 'ready');
  presence.engineReady(false);
  assert.equal(state(), 'starting');
  presence.condition('engine', 'crashed');
  presence.drain();
  presence.engineReady(true);
  assert.equal(state(), 'draining');
});

test('[SLMD-STA-2] the will says offline, and names the birth of the connection that it belongs to', async () => {
  const { presence } = presenceOf();
  for (const birth of [1, 2]) {
    const { state, boot, ...will } = presence.will;
    assert.deepEqual([state, boot, will.birth], ['offline', 'b00t', birth]);
    await presence.born(new FakeConnection({ answer: 0 }).asConnection);
    assert.equal(presence.status.birth, birth);
  }
});

test('[SLMD-STA-6] a will that comes late is contradicted, whose ever it is, until the device has said goodbye', async () => {
  const connection = new FakeConnection({ answer: 0 });
  const { presence } = presenceOf();
  presence.engineReady(true);
  const will = presence.will;
  presence.hear(will);
  await presence.born(connection.asConnection);
  presence.hear(presence.status);
  await settled();
  assert.deepEqual(states(connection), ['ready']);
  for (const boot of [will.boot, 'of a predecessor']) {
    presence.hear({ ...will, boot });
    await settled();
  }
  assert.deepEqual(states(connection), ['ready', 'ready', 'ready']);
  await presence.offline();
  presence.hear({ ...presence.status, state: 'offline' });
  await settled();
  assert.equal(states(connection).at(-1), 'offline');
});

test('a birth says status, info and extras in this order, all retained with QoS 1', async () => {
  const connection = new FakeConnection({ answer: 0 });
  await presenceOf().presence.born(connection.asConnection);
  assert.deepEqual(connection.topics, [topics.status, topics.info, 'extra']);
  for (const { options } of connection.published)
    assert.deepEqual(options, { qos: 1, retain: true, content_type: 'application/json' });
});

test('info names the protocol of the connection that it goes out on', async () => {
  const { presence } = presenceOf();
  for (const [protocol, name] of [
    [5, '5.0'],
    [4, '3.1.1'],
  ] as const) {
    const connection = new FakeConnection({ protocol, answer: 0 });
    await presence.born(connection.asConnection);
    const { payload } = connection.published.find(({ topic }) => topic === topics.info) ?? assert.fail();
    assert.equal((JSON.parse(payload) as { protocol: string }).protocol, name);
  }
});

test('each change is said once, in order; what changes nothing is not said', async () => {
  const connection = new FakeConnection({ answer: 0 });
  const { presence } = presenceOf();
  await presence.born(connection.asConnection);
  presence.engineReady(true);
  await settled();
  presence.condition('probe', 'no echo');
  await settled();
  presence.condition('probe', 'no echo');
  presence.condition('other', null);
  await settled();
  presence.drain();
  await settled();
  assert.deepEqual(states(connection), ['starting', 'ready', 'degraded', 'draining']);
});

test('a status that changes while another is under way follows it, and never overtakes', async () => {
  const connection = new FakeConnection();
  const { presence } = presenceOf();
  void presence.born(connection.asConnection);
  await settled();
  presence.engineReady(true);
  await settled();
  assert.deepEqual(states(connection), ['starting']);
  for (let i = 0; i < connection.published.length; i++) await connection.published[i]?.acknowledge();
  assert.deepEqual(states(connection), ['starting', 'ready']);
});

test('an engine that becomes ready is told in a new info', async () => {
  const connection = new FakeConnection({ answer: 0 });
  const { presence } = presenceOf();
  await presence.born(connection.asConnection);
  presence.engineReady(true);
  await settled();
  assert.equal(connection.topics.filter((topic) => topic === topics.info).length, 2);
});

test('the next connection is told everything again, whether or not it changed', async () => {
  const { presence } = presenceOf();
  for (let i = 0; i < 2; i++) {
    const connection = new FakeConnection({ answer: 0 });
    await presence.born(connection.asConnection);
    assert.deepEqual(connection.topics, [topics.status, topics.info, 'extra']);
    presence.lost();
  }
});

test('what was under way when a connection was lost is said again to the next', async () => {
  const [first, second] = [new FakeConnection(), new FakeConnection({ answer: 0 })];
  const { presence } = presenceOf();
  void presence.born(first.asConnection);
  await settled();
  presence.lost();
  const born = presence.born(second.asConnection);
  await first.cut();
  await born;
  assert.deepEqual(first.topics, [topics.status], 'nothing more goes to the connection that is lost');
  assert.deepEqual(second.topics, [topics.status, topics.info, 'extra']);
});

test('nothing is sent after the connection was lost, whatever happens then', async () => {
  const connection = new FakeConnection({ answer: 0 });
  const { presence } = presenceOf();
  await presence.born(connection.asConnection);
  const { length } = connection.published;
  presence.engineReady(true);
  presence.lost();
  presence.drain();
  await presence.offline();
  await settled();
  assert.equal(connection.published.length, length);
});

test('the last word is offline with its reason, after all that was under way, and nothing follows', async () => {
  const connection = new FakeConnection({ answer: 0 });
  const { presence } = presenceOf();
  void presence.born(connection.asConnection);
  presence.drain();
  await presence.offline();
  presence.engineReady(true);
  await settled();
  const last = connection.published.at(-1);
  assert.equal(last?.topic, topics.status);
  assert.deepEqual(JSON.parse(last?.payload ?? ''), {
    state: 'offline',
    boot: 'b00t',
    birth: 1,
    why: 'stopped',
  });
  assert.equal(connection.topics.at(-2), 'extra');
});

test('a refusal by the broker is reported with its topic and code, and the rest is said all the same', async () => {
  const connection = new FakeConnection({ answer: 135 });
  const { presence, refused } = presenceOf();
  await presence.born(connection.asConnection);
  assert.deepEqual(refused, [
    [topics.status, 135],
    [topics.info, 135],
    ['extra', 135],
  ]);
});
