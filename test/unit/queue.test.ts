import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PromptRequest } from '../../src/contract/prompt.ts';
import type { QueueBounds } from '../../src/queue/queue.ts';
import { promptRequest } from '../support/prompts.ts';
import { randomNumbers } from '../support/random.ts';
import { settled } from '../support/wait.ts';
import { roomy, Watched } from '../support/watched-queue.ts';

test('a request that finds the queue idle has its turn at once and does not wait', async () => {
  const watched = new Watched();
  assert.ok(watched.enter('a'));
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
  const watched = new Watched({ depth_max: 7, bytes_max: 100 });
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

test('those that go first are those that run and those that have their turn before', async () => {
  const watched = new Watched();
  const ahead = (more: Partial<PromptRequest>) =>
    watched.queue.ahead(promptRequest(more)).map(({ request }) => request.id);
  assert.deepEqual(ahead({}), []);
  watched.enter('runs', { priority: 'low' });
  watched.enter('l', { priority: 'low' });
  watched.enter('n');
  assert.deepEqual(ahead({ priority: 'low' }), ['runs', 'n', 'l']);
  assert.deepEqual(ahead({}), ['runs', 'n']);
  assert.deepEqual(ahead({ priority: 'high' }), ['runs']);
  const [running, waiting] = watched.queue.ahead(promptRequest());
  assert.ok((running?.running_ms ?? -1) >= 0);
  assert.equal(waiting?.running_ms, 0);
});

test('[SLMD-ADM-2] requesters of one priority take turns, whoever came first with how many', async () => {
  const watched = new Watched();
  for (const id of ['a1', 'a2', 'a3', 'a4']) watched.enter(id, { requester: 'a' });
  watched.enter('b1', { requester: 'b' });
  watched.enter('c1', { requester: 'c' });
  watched.enter('b2', { requester: 'b' });
  watched.enter('urgent', { requester: 'a', priority: 'high' });
  assert.deepEqual(await watched.drain(), ['a1', 'urgent', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
});

test('[SLMD-ADM-2] a flood of newcomers holds up who waits for one prompt of each at most', async () => {
  const watched = new Watched();
  for (const id of ['a1', 'a2']) watched.enter(id, { requester: 'a' });
  for (const requester of ['b', 'c']) watched.enter(`${requester}1`, { requester });
  await settled();
  // a2's round begins; from now on nobody joins it.
  watched.places.get('a1')?.leave();
  for (const requester of ['d', 'e', 'f', 'g']) watched.enter(`${requester}1`, { requester });
  const turns = await watched.drain();
  assert.deepEqual(turns.slice(0, 4), ['a1', 'a2', 'b1', 'c1']);
});

test('[SLMD-ADM-2] who comes again as soon as it was served waits until the others had their turn', async () => {
  const watched = new Watched();
  watched.enter('a1', { requester: 'a' });
  for (const requester of ['b', 'c']) watched.enter(`${requester}1`, { requester });
  watched.places.get('a1')?.leave();
  watched.enter('a2', { requester: 'a' });
  assert.deepEqual(await watched.drain(), ['a1', 'b1', 'c1', 'a2']);
});

test('[SLMD-ADM-3] the last eighth of a queue is for requesters that have nothing in it', () => {
  const watched = new Watched({ ...roomy, depth_max: 16 });
  watched.enter('runs');
  const entered = Array.from({ length: 20 }, (_, i) => watched.enter(`a${i}`, { requester: 'a' }));
  assert.equal(entered.filter((place) => place !== null).length, 14);
  assert.ok(watched.enter('b1', { requester: 'b' }));
  assert.equal(watched.enter('b2', { requester: 'b' }), null);
  assert.ok(watched.enter('c1', { requester: 'c' }));
  assert.equal(watched.enter('d1', { requester: 'd' }), null, 'the queue is full for everybody');
});

test('[SLMD-ADM-3] so is the last eighth of its bytes', () => {
  const watched = new Watched({ depth_max: 16, bytes_max: 800 });
  watched.enter('runs');
  assert.ok(watched.enter('a1', { requester: 'a', bytes: 600 }));
  assert.equal(watched.enter('a2', { requester: 'a', bytes: 101 }), null);
  assert.ok(watched.enter('a3', { requester: 'a', bytes: 100 }));
  assert.ok(watched.enter('b1', { requester: 'b', bytes: 100 }));
});

test('[SLMD-ADM-3] a short queue is for whoever comes, down to its last place', () => {
  for (const depth_max of [1, 2, 4, 7]) {
    const watched = new Watched({ ...roomy, depth_max });
    watched.enter('runs');
    for (let i = 0; i < depth_max; i++) assert.ok(watched.enter(String(i)), `${i} of ${depth_max}`);
    assert.equal(watched.enter('too many'), null);
  }
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
  requester: string;
}

/**
 * The same queue as a person would write it down: rounds are lists, built when somebody enters and worn
 * away when turns are given.
 */
class Model {
  /** By rank, the rounds to come: each has every requester once. */
  readonly rounds: Modelled[][][] = [[], [], []];
  running: Modelled[] = [];
  turns: string[] = [];
  /** By rank, the rest of the round that is being served: nobody joins it. */
  readonly #served: Modelled[][] = [[], [], []];
  readonly #bounds: QueueBounds;
  readonly #concurrency: number;

  constructor(bounds: QueueBounds, concurrency: number) {
    this.#bounds = bounds;
    this.#concurrency = concurrency;
  }

  get waiting(): Modelled[] {
    return this.rounds.flatMap((rounds, rank) => [...(this.#served[rank] ?? []), ...rounds.flat()]);
  }

  get bytes(): number {
    return this.waiting.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  enter(entry: Modelled): boolean {
    if (this.running.length >= this.#concurrency && this.#full(entry)) return false;
    const rounds = this.rounds[entry.rank] as Modelled[][];
    // Behind its own last one, so that its prompts stay in their order.
    const last = rounds.findLastIndex((round) => round.some((other) => other.requester === entry.requester));
    rounds[last + 1] = [...(rounds[last + 1] ?? []), entry];
    this.#advance();
    return true;
  }

  leave(id: string): void {
    const without = (entries: Modelled[]) => entries.filter((entry) => entry.id !== id);
    for (const rank of [0, 1, 2]) {
      this.#served[rank] = without(this.#served[rank] ?? []);
      this.rounds[rank] = (this.rounds[rank] ?? []).map(without);
    }
    this.running = without(this.running);
    this.#advance();
  }

  #full({ requester, bytes }: Modelled): boolean {
    const { depth_max, bytes_max } = this.#bounds;
    const kept = depth_max >= 8 && this.waiting.some((other) => other.requester === requester);
    const depth = depth_max - (kept ? Math.floor(depth_max / 8) : 0);
    const room = bytes_max - (kept ? Math.floor(bytes_max / 8) : 0);
    return this.waiting.length >= depth || this.bytes + bytes > room;
  }

  #advance(): void {
    while (this.running.length < this.#concurrency) {
      const rank = [0, 1, 2].find((rank) => this.#nextRound(rank).length > 0);
      if (rank === undefined) return;
      const next = this.#nextRound(rank).shift() as Modelled;
      this.running.push(next);
      this.turns.push(next.id);
    }
  }

  /** The round that is being served, or, where it is over, the next that has anybody. */
  #nextRound(rank: number): Modelled[] {
    const rounds = this.rounds[rank] as Modelled[][];
    while (this.#served[rank]?.length === 0 && rounds.some((round) => round.length > 0))
      this.#served[rank] = rounds.shift() ?? [];
    return this.#served[rank] as Modelled[];
  }
}

test('[SLMD-ADM-2] [SLMD-ADM-3] whatever comes and goes, the queue does what its model does', async () => {
  const priorities = ['high', 'normal', 'low'] as const;
  for (let seed = 1; seed <= 30; seed++) {
    const random = randomNumbers(seed);
    const below = (bound: number) => Math.floor(random() * bound);
    const bounds = { depth_max: 1 + below(24), bytes_max: 1 + below(600) };
    const concurrency = 1 + below(3);
    const [watched, model] = [new Watched(bounds, concurrency), new Model(bounds, concurrency)];
    for (let step = 0; step < 200; step++) {
      const id = String(step);
      if (random() < 0.55) {
        const [rank, bytes, requester] = [below(3), below(60), `r${below(4)}`];
        const place = watched.enter(id, { priority: priorities[rank] ?? 'normal', bytes, requester });
        const entered = model.enter({ id, rank, bytes, requester });
        assert.equal(place !== null, entered, `seed ${seed}, step ${step}`);
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
