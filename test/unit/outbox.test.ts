import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonCodes } from '../../src/mqtt/client.ts';
import { Outbox, type Parcel } from '../../src/mqtt/outbox.ts';
import { FakeConnection } from '../support/fake-connection.ts';
import { settled } from '../support/wait.ts';

interface Refused {
  topic: string;
  code: number;
}

function outbox(): { box: Outbox; refused: Refused[] } {
  const refused: Refused[] = [];
  const box = new Outbox({
    answered: (topic, code) => {
      if (code >= reasonCodes.failure) refused.push({ topic, code });
    },
  });
  return { box, refused };
}

function parcel(topic: string, more: Partial<Parcel> = {}): Parcel {
  return {
    topic,
    payload: `of ${topic}`,
    retain: false,
    delivered: () => undefined,
    smaller: () => 'smaller',
    ...more,
  };
}

/** An outbox with these parcels on a connection. */
function sending(topics: string, connection: FakeConnection) {
  const { box, refused } = outbox();
  for (const topic of topics) box.push(parcel(topic));
  box.use(connection.asConnection);
  return { box, refused };
}

test('a parcel waits for a connection, and goes out with QoS 1 when there is one', () => {
  const connection = new FakeConnection();
  const { box } = outbox();
  box.push(parcel('a', { retain: true, expiry_s: 9, correlation: Buffer.from('c') }));
  assert.equal(box.depth, 1);
  box.use(connection.asConnection);
  const [{ payload, options } = assert.fail()] = connection.published;
  assert.equal(payload, 'of a');
  assert.deepEqual(options, {
    qos: 1,
    retain: true,
    content_type: 'application/json',
    correlation: Buffer.from('c'),
    expiry_s: 9,
  });
});

test('parcels go out in the order in which they came, eight at a time', async () => {
  const connection = new FakeConnection();
  sending('abcdefghij', connection);
  assert.deepEqual(connection.topics, [...'abcdefgh']);
  await connection.published[3]?.acknowledge();
  assert.deepEqual(connection.topics, [...'abcdefghi']);
});

test('a broker that allows fewer at a time gets fewer', async () => {
  const connection = new FakeConnection({ receive_maximum: 2 });
  sending('abcd', connection);
  assert.deepEqual(connection.topics, ['a', 'b']);
  await connection.published[0]?.acknowledge();
  assert.deepEqual(connection.topics, ['a', 'b', 'c']);
});

test('a parcel leaves when it is acknowledged, and is then not sent again', async () => {
  const [first, second] = [new FakeConnection({ answer: 0 }), new FakeConnection()];
  const { box } = sending('ab', first);
  await settled();
  assert.equal(box.depth, 0);
  box.use(second.asConnection);
  assert.deepEqual(second.topics, []);
});

test('what was under way when a connection ended goes out again on the next, in its order', async () => {
  const [first, second] = [new FakeConnection({ receive_maximum: 3 }), new FakeConnection({ answer: 0 })];
  const { box } = sending('abcde', first);
  await first.published[1]?.acknowledge();
  await first.cut();
  box.use(null);
  box.push(parcel('f'));
  assert.equal(box.depth, 5);
  box.use(second.asConnection);
  await settled();
  assert.deepEqual(second.topics, [...'acdef']);
  assert.equal(box.depth, 0);
});

test('an acknowledgement that comes after its connection was given up counts for nothing', async () => {
  const [first, second] = [new FakeConnection(), new FakeConnection()];
  const { box, refused } = sending('a', first);
  box.use(second.asConnection);
  await first.published[0]?.acknowledge(135);
  assert.deepEqual([box.depth, refused, second.topics], [1, [], ['a']]);
  await second.published[0]?.acknowledge();
  assert.equal(box.depth, 0);
});

test('a refusal is reported, and harms no other parcel', async () => {
  const connection = new FakeConnection();
  const { box, refused } = sending('abc', connection);
  await connection.published[1]?.acknowledge(135);
  assert.deepEqual([box.depth, refused], [2, [{ topic: 'b', code: 135 }]]);
  await connection.published[0]?.acknowledge(128);
  await connection.published[2]?.acknowledge();
  assert.deepEqual([box.depth, refused.length], [0, 2]);
});

test('what the broker refused is offered again later, until it is taken; what is optional is done with', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const connection = new FakeConnection({ answer: 135 });
  const delivered: string[] = [];
  const { box } = outbox();
  box.use(connection.asConnection);
  for (const [topic, optional] of [
    ['result', false],
    ['copy', true],
  ] as const)
    box.push(parcel(topic, { retain: !optional, optional, delivered: () => delivered.push(topic) }));
  await settled();
  assert.deepEqual([delivered, box.depth], [['copy'], 0]);
  t.mock.timers.tick(60_000);
  await settled();
  assert.deepEqual(connection.topics, ['result', 'copy', 'result']);
  box.use(new FakeConnection({ answer: 0 }).asConnection);
  t.mock.timers.tick(60_000);
  await settled();
  assert.deepEqual(delivered, ['copy', 'result']);
});

test('a fleeting parcel goes with its connection, whether it waits, is under way or was not heard', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const [first, second] = [new FakeConnection({ receive_maximum: 2 }), new FakeConnection()];
  const { box } = outbox();
  box.use(first.asConnection);
  for (const topic of ['unheard', 'under-way', 'waits']) box.push(parcel(topic, { fleeting: true }));
  box.push(parcel('stays'));
  await first.published[0]?.acknowledge(16);
  await first.cut();
  box.use(null);
  assert.equal(box.depth, 1);
  // What comes between a connection and its use belongs to it.
  box.push(parcel('early', { fleeting: true }));
  box.use(second.asConnection);
  t.mock.timers.tick(60_000);
  await settled();
  assert.deepEqual(second.topics, ['stays', 'early']);
});

test('a reason code below 128 is no refusal: nobody listened, which is not the device’s business', async () => {
  const { box, refused } = sending('ab', new FakeConnection({ answer: 16 }));
  await settled();
  assert.deepEqual([box.depth, refused], [0, []]);
});

test('a payload that does not fit into the broker’s packets is replaced, one that fits is not', () => {
  const connection = new FakeConnection({ packet_bytes_max: 1000 });
  const { box } = outbox();
  box.use(connection.asConnection);
  const told: number[] = [];
  const smaller = (bytesMax: number) => `smaller than ${told.push(bytesMax) && bytesMax}`;
  box.push(parcel('fits', { payload: 'x'.repeat(480), smaller }));
  // 300 characters, 900 bytes: the packet is measured in bytes.
  box.push(parcel('large', { payload: '€'.repeat(300), smaller }));
  assert.deepEqual(
    connection.published.map(({ payload }) => payload),
    ['x'.repeat(480), 'smaller than 483'],
  );
});

test('idle resolves at once where nothing waits, else when the last parcel is acknowledged', async () => {
  const connection = new FakeConnection();
  const { box } = outbox();
  await box.idle();
  box.push(parcel('a'));
  let idle = 0;
  for (const promise of [box.idle(), box.idle()]) void promise.then(() => idle++);
  box.use(connection.asConnection);
  await settled();
  assert.equal(idle, 0);
  await connection.published[0]?.acknowledge();
  assert.equal(idle, 2);
});

test('a parcel that is pushed while others are under way goes out at once where there is room', () => {
  const connection = new FakeConnection();
  const { box } = sending('a', connection);
  box.push(parcel('b'));
  assert.deepEqual(connection.topics, ['a', 'b']);
});
