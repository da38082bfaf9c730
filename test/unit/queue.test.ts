import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PromptRequest } from '../../src/contract/prompt.ts';
import { type Place, type QueueBounds, RequestQueue } from '../../src/queue/queue.ts';
import { promptRequest } from '../support/prompts.ts';
import { randomNumbers } from '../support/random.ts';

const roomy = { depth_max: 100, bytes_max: 1_000_000 };

/** A queue that notes whose turn came, in order; a turn is seen one microtask after it is given. */
class Watched {
  readonly queue: RequestQueue;
  readonly turns: string[] = [];
  readonly places = new Map<string, Place>();

  constructor(bounds: QueueBounds = roomy, concurrency?: number) {
    this.queue = new RequestQueue(bounds, concurrency);
  }

  enter(id: string, more: Partial<PromptRequest> = {}): Place | null {
    const place = this.queue.enter(promptRequest({ id, ...more }));
    if (place === null) return null;
    this.places.set(id, place);
    void place.turn.then(() => this.turns.push(id));
    return place;
  }

  /** Gives up the turn of whoever runs until nobody is left; the order in which they ran. */
  async drain(): Promise<string[]> {
    await settled();
    for (let i = 0; i < this.turns.length; i++) {
      this.places.get(this.turns[i] ?? '')?.leave();
      await settled();
    }
    return this.turns;
  }

  get counts(): [waiting: number, bytes: number, running: number] {
    return [this.queue.depth, this.queue.bytes, this.queue.running];
  }
}

/** Everything that is due by now has happened. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

test('a request that finds the queue idle has its turn at once and does not wait', async () => {
  const watched = new Watched();
  assert.equal(watched.enter('a')?.position, 0);
  assert.deepEqual(watched.counts, [0, 0, 1]);
  await settled();
  assert.deepEqual(watched.turns, ['a']);
});

test('a queue that holds as many as it may refuses the next, and takes one when one has left', () => {
  const watched = new Watched({ ...roomy, depth_max: 2 });
  for (const id of ['runs', 'waits', 'waits too']) assert.ok(watched.enter(id));
  assert.equal(watched.enter('too many'), null);
  assert.deepEqual(watched.counts, [2, 20, 1]);
  watched.places.get('waits')?.leave();
  assert.ok(watched.enter('now'));
});

test('a queue bounds the bytes that wait; what runs does not count', () => {
  const watched = new Watched({ ...roomy, bytes_max: 100 });
  assert.ok(watched.enter('runs', { bytes: 100 }));
  assert.ok(watched.enter('waits', { bytes: 60 }));
  assert.equal(watched.enter('too big', { bytes: 41 }), null);
  assert.ok(watched.enter('fits', { bytes: 40 }));
  assert.deepEqual(watched.counts, [2, 100, 1]);
});

test('the higher priority goes first, equal ones in the order in which they came', async () => {
  const watched = new Watched();
  watched.enter('first');
  for (const [id, priority] of [
    ['l1', 'low'],
    ['n1', 'normal'],
    ['h1', 'high'],
    ['l2', 'low'],
    ['h2', 'high'],
    ['n2', 'normal'],
  ] as const)
    watched.enter(id, { priority });
  assert.deepEqual(await watched.drain(), ['first', 'h1', 'h2', 'n1', 'n2', 'l1', 'l2']);
  assert.deepEqual(watched.counts, [0, 0, 0]);
});

test('a position counts those that go first, and those that run', () => {
  const watched = new Watched();
  const positions = [
    watched.enter('runs', { priority: 'low' })?.position,
    watched.enter('l', { priority: 'low' })?.position,
    watched.enter('n')?.position,
    watched.enter('h', { priority: 'high' })?.position,
    watched.enter('n2')?.position,
  ];
  assert.deepEqual(positions, [0, 1, 1, 1, 3]);
});

test('who leaves while waiting never has a turn, and frees what it held', async () => {
  const watched = new Watched();
  for (const id of ['a', 'b', 'c']) watched.enter(id);
  watched.places.get('b')?.leave();
  assert.deepEqual(watched.counts, [1, 10, 1]);
  assert.deepEqual(await watched.drain(), ['a', 'c']);
});

test('who leaves twice frees its place once', async () => {
  const watched = new Watched();
  for (const id of ['a', 'b', 'c', 'd']) watched.enter(id);
  for (const id of ['a', 'a', 'd', 'd']) watched.places.get(id)?.leave();
  await settled();
  assert.deepEqual(watched.turns, ['a', 'b']);
  assert.deepEqual(watched.counts, [1, 10, 1]);
});

test('with room for several turns, so many run together', async () => {
  const watched = new Watched(roomy, 2);
  for (const id of ['a', 'b', 'c']) watched.enter(id);
  await settled();
  assert.deepEqual(watched.turns, ['a', 'b']);
  watched.places.get('a')?.leave();
  await settled();
  assert.deepEqual(
    [watched.turns, watched.counts],
    [
      ['a', 'b', 'c'],
      [0, 0, 2],
    ],
  );
});

interface Modelled {
  id: string;
  rank: number;
  bytes: number;
}

/** The same queue as a person would write it down: sorted anew at every step. */
class Model {
  waiting: Modelled[] = [];
  running: Modelled[] = [];
  turns: string[] = [];
  readonly #bounds: QueueBounds;
  readonly #concurrency: number;

  constructor(bounds: QueueBounds, concurrency: number) {
    this.#bounds = bounds;
    this.#concurrency = concurrency;
  }

  get bytes(): number {
    return this.waiting.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  enter(entry: Modelled): boolean {
    const full =
      this.waiting.length >= this.#bounds.depth_max || this.bytes + entry.bytes > this.#bounds.bytes_max;
    if (this.running.length >= this.#concurrency && full) return false;
    this.waiting.push(entry);
    this.#advance();
    return true;
  }

  leave(id: string): void {
    this.waiting = this.waiting.filter((entry) => entry.id !== id);
    this.running = this.running.filter((entry) => entry.id !== id);
    this.#advance();
  }

  #advance(): void {
    this.waiting.sort((a, b) => a.rank - b.rank); // Stable: equal ones stay in their order.
    while (this.running.length < this.#concurrency && this.waiting.length > 0) {
      const next = this.waiting.shift() as Modelled;
      this.running.push(next);
      this.turns.push(next.id);
    }
  }
}

test('whatever comes and goes, the queue does what its model does', async () => {
  const priorities = ['high', 'normal', 'low'] as const;
  for (let seed = 1; seed <= 30; seed++) {
    const random = randomNumbers(seed);
    const below = (bound: number) => Math.floor(random() * bound);
    const bounds = { depth_max: 1 + below(8), bytes_max: 1 + below(200) };
    const concurrency = 1 + below(3);
    const [watched, model] = [new Watched(bounds, concurrency), new Model(bounds, concurrency)];
    for (let step = 0; step < 200; step++) {
      const id = String(step);
      if (random() < 0.55) {
        const [rank, bytes] = [below(3), below(60)];
        const place = watched.enter(id, { priority: priorities[rank] ?? 'normal', bytes });
        assert.equal(place !== null, model.enter({ id, rank, bytes }), `seed ${seed}, step ${step}`);
      } else {
        const who = String(below(step + 1));
        watched.places.get(who)?.leave();
        model.leave(who);
      }
      const wanted = [model.waiting.length, model.bytes, model.running.length];
      assert.deepEqual(watched.counts, wanted, `seed ${seed}, step ${step}`);
    }
    await settled();
    assert.deepEqual(watched.turns, model.turns, `seed ${seed}`);
  }
});
