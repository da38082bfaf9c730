import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Status } from '../../src/contract/status.ts';
import { DuplicateWatch } from '../../src/mqtt/duplicate-watch.ts';
import type { TroubleCode } from '../../src/mqtt/trouble.ts';

const watch = () => new DuplicateWatch('own');
const status = (boot: string, birth: number, state: Status['state'] = 'ready'): Status => ({
  state,
  boot,
  birth,
  why: null,
});
const ended = (lasted_ms: number | null, code: TroubleCode = 'closed') => ({
  trouble: { code, message: '' },
  lasted_ms,
});

test('[SLMD-DUP-1] a status of an unknown boot after the own one is of another device, whatever it says', () => {
  for (const state of ['ready', 'degraded', 'offline'] as const) {
    const watched = watch();
    assert.equal(watched.hear(status('own', 1), 1), null);
    assert.equal(watched.hear(status('other', 1, state), null), 'status');
  }
});

test('[SLMD-DUP-1] whoever was there before and speaks after the own birth of this connection is there beside it', () => {
  for (const [state, sign] of [
    ['starting', 'beside'],
    ['degraded', 'beside'],
    ['draining', 'beside'],
    ['offline', null],
  ] as const) {
    const watched = watch();
    watched.hear(status('other', 1), null);
    watched.hear(status('own', 1), 1);
    assert.equal(watched.hear(status('other', 1, state), 1), sign, state);
  }
});

test('[SLMD-DUP-1] what was there before the own birth is a predecessor, until it is born again', () => {
  const watched = watch();
  assert.equal(watched.hear(status('other', 3), null), null);
  watched.hear(status('own', 1), 1);
  // A broker that was restarted with an old memory says it once more, before it hears of its own next birth.
  for (const ownBirth of [null, 2]) {
    for (const birth of [1, 3]) assert.equal(watched.hear(status('other', birth), ownBirth), null);
    watched.hear(status('own', 1), ownBirth);
  }
  assert.equal(watched.hear(status('other', 4), 2), 'status');
});

test('[SLMD-DUP-1] a boot of its own that a broker has forgotten to forget is no other device', () => {
  const watched = watch();
  watched.remember(['earlier', 'last']);
  watched.hear(status('last', 1), 1);
  watched.hear(status('own', 1), 1);
  for (const boot of ['earlier', 'last']) assert.equal(watched.hear(status(boot, 7), 1), null);
  assert.equal(watched.hear(status('other', 1), 1), 'beside');
});

test('[SLMD-DUP-1] a broker that says so is believed', () => {
  assert.equal(watch().ended(ended(60_000, 'taken_over')), 'taken_over');
});

test('[SLMD-DUP-1] three short connections in a row are a sign where the own status is not heard', () => {
  const watched = watch();
  const signs = [10, 10, 10_001, 10, 10, 10].map((lasted) => watched.ended(ended(lasted)));
  assert.deepEqual(signs, [null, null, null, null, null, 'short_lived']);

  const hearing = watch();
  hearing.hear(status('own', 1), 1);
  for (let i = 0; i < 5; i++) assert.equal(hearing.ended(ended(10)), null);
});

test('[SLMD-DUP-1] a broker that is away, or a network that is silent, is no sign', () => {
  const watched = watch();
  for (let i = 0; i < 5; i++) {
    assert.equal(watched.ended(ended(null, 'refused')), null);
    assert.equal(watched.ended(ended(null, 'closed')), null);
    assert.equal(watched.ended(ended(5000, 'timeout')), null);
  }
});
