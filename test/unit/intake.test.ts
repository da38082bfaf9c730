import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { IncomingMessage } from '../../src/mqtt/inbox.ts';
import { type Receiver, receive, unacknowledgedMax, unansweredMax } from '../../src/mqtt/intake.ts';

/** As much of MQTT.js as a message comes through, and a network that has brought a burst of them. */
class Burst implements Receiver {
  connected = true;
  readonly acknowledged: Buffer[] = [];
  readonly taken: { message: IncomingMessage; acknowledge(): void }[] = [];
  floods = 0;
  dropped = 0;
  readonly stream = { write: (bytes: Buffer) => this.acknowledged.push(bytes) };
  handleMessage: Receiver['handleMessage'] = () => assert.fail('nobody receives');

  constructor(sessionKept = true) {
    receive(
      this,
      { protocolVersion: 5, sessionKept },
      {
        message: (message, acknowledge) => this.taken.push({ message, acknowledge }),
        flooded: () => this.floods++,
        dropped: () => this.dropped++,
      },
    );
  }

  /** Brings messages as MQTT.js does: the next when the one before was called back. Resolves with the last. */
  arrive(count: number, qos: 0 | 1 = 1): Promise<void> {
    return new Promise((resolve) => {
      const next = (messageId: number) => {
        if (messageId > count) return resolve();
        this.handleMessage({ topic: 't', payload: 'p', retain: false, qos, messageId }, () =>
          process.nextTick(next, messageId + 1),
        );
      };
      next(1);
    });
  }
}

test('a burst leaves the event loop its turns, so that other work goes on among its messages', async () => {
  const burst = new Burst();
  const arrived = burst.arrive(1000);
  const seen: number[] = [];
  for (let turns = 0; turns < 10; turns++) {
    await turn();
    seen.push(burst.taken.length);
  }
  assert.ok((seen[9] ?? 1000) < 100, `${seen}`);
  await arrived;
  assert.equal(burst.taken.length, 1000);
});

test('a message is acknowledged once, when its taker says so, with its own packet identifier', async () => {
  const burst = new Burst();
  await burst.arrive(2);
  burst.taken[1]?.acknowledge();
  burst.taken[1]?.acknowledge();
  assert.deepEqual(
    burst.acknowledged.map((bytes) => bytes.readUInt16BE(2)),
    [2],
  );
});

test('what the broker keeps is what it waits to have acknowledged, in a session that outlives the connection', async () => {
  const kept = async (qos: 0 | 1, sessionKept: boolean) => {
    const burst = new Burst(sessionKept);
    await burst.arrive(1, qos);
    return burst.taken[0]?.message.kept;
  };
  assert.deepEqual([await kept(1, true), await kept(0, true), await kept(1, false)], [true, false, false]);
});

test('what is acknowledged makes room: any number of messages comes through one connection', async () => {
  const burst = new Burst();
  for (let part = 0; part < 4; part++) {
    await burst.arrive(unacknowledgedMax / 2);
    for (const { acknowledge } of burst.taken.splice(0)) acknowledge();
  }
  assert.equal(burst.floods, 0);
});

test('a broker that does not wait for acknowledgements is noticed, before it fills the memory', async () => {
  const burst = new Burst();
  await burst.arrive(unacknowledgedMax);
  assert.equal(burst.floods, 0);
  await burst.arrive(1);
  assert.deepEqual([burst.floods, burst.taken.length], [1, unacknowledgedMax]);
});

test('[SLMD-ADM-5] of messages that nobody acknowledges so many wait for their answers, and the others are dropped and counted', async () => {
  const burst = new Burst();
  await burst.arrive(unansweredMax + 100, 0);
  assert.deepEqual([burst.taken.length, burst.dropped], [unansweredMax, 100]);
  for (const { acknowledge } of burst.taken.slice(0, 10)) {
    acknowledge();
    acknowledge();
  }
  await burst.arrive(20, 0);
  assert.deepEqual([burst.taken.length, burst.dropped], [unansweredMax + 10, 110]);
  await burst.arrive(5, 1);
  assert.equal(burst.taken.length, unansweredMax + 15, 'what is acknowledged has a bound of its own');
  assert.deepEqual([burst.acknowledged, burst.floods], [[], 0]);
});

test('what came before the end and is looked at after it is left for the next connection', async () => {
  const burst = new Burst();
  burst.connected = false;
  await burst.arrive(3);
  assert.equal(burst.taken.length, 0);
});
