import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PromptRequest } from '../../src/contract/prompt.ts';
import { monotonicMs } from '../../src/lib/clock.ts';
import { Admission, type Admitted } from '../../src/queue/admission.ts';
import { RequestQueue } from '../../src/queue/queue.ts';
import { promptRequest } from '../support/prompts.ts';

/** An answer of ten seconds, so that the time a test takes does not count. */
const answer = { service_ms: 10_000, prefill_ms: 1000, decode_ms: 9000 };

function admissionOf(answers: number, depth_max = 100) {
  const queue = new RequestQueue({ depth_max, bytes_max: 1_000_000 });
  const admission = new Admission(queue);
  for (let i = 0; i < answers; i++)
    admission.learn(promptRequest(), false, { ...answer, completion_tokens: 10, complete: true });
  const enter = (more: Partial<PromptRequest> = {}) => admission.enter(promptRequest(more));
  return { queue, admission, enter };
}

const within = (deadline_ms: number) => ({ deadline_at: monotonicMs() + deadline_ms });

function admitted(outcome: ReturnType<Admission['enter']>): Admitted {
  if ('error' in outcome) assert.fail(outcome.error.code);
  return outcome;
}

function error(outcome: ReturnType<Admission['enter']>) {
  return 'error' in outcome ? outcome.error : assert.fail('it was admitted');
}

test('[SLMD-EVT-1] position and estimate are those of the queue as it stands', () => {
  const { enter } = admissionOf(1);
  const seen = [0, 1, 2].map(() => admitted(enter()));
  assert.deepEqual(
    seen.map(({ position }) => position),
    [0, 1, 2],
  );
  const [alone = 0, second = 0, third = 0] = seen.map(({ eta_ms }) => eta_ms ?? assert.fail());
  assert.equal(alone, 10_000);
  // What runs has run for a moment already.
  assert.ok(second <= 20_000 && second > 15_000, `${second}`);
  assert.ok(third <= 30_000 && third > 25_000, `${third}`);
  assert.equal(admitted(admissionOf(0).enter()).eta_ms, null);
});

test('[SLMD-ADM-4] a deadline that the queue does not leave within reach is refused, with the time to come again', () => {
  const { enter, queue } = admissionOf(3);
  for (let i = 0; i < 4; i++) enter();
  const { code, retryable, retry_after_ms = 0 } = error(enter(within(40_000)));
  assert.deepEqual([code, retryable], ['deadline_unmeetable', true]);
  assert.ok(retry_after_ms > 5000 && retry_after_ms <= 10_001, `${retry_after_ms}`);
  assert.equal(queue.depth, 3, 'nothing of it waits');
  admitted(enter(within(60_000)));
  admitted(enter());
});

test('[SLMD-ADM-4] where the answer alone takes too long no time to come again is given', () => {
  const { enter } = admissionOf(3);
  const refused = error(enter(within(5000)));
  assert.deepEqual([refused.code, refused.retry_after_ms], ['deadline_unmeetable', undefined]);
  admitted(enter({ ...within(5000), max_tokens: 2 }));
});

test('[SLMD-ADM-4] nothing is refused on a guess: without a measurement every deadline is accepted', () => {
  for (const answers of [0, 1, 2]) {
    const { enter } = admissionOf(answers);
    for (let i = 0; i < 4; i++) admitted(enter(within(1000)));
  }
});

test('[SLMD-ADM-4] a prompt of higher priority is measured by those that go before it', () => {
  const { enter } = admissionOf(3);
  for (let i = 0; i < 4; i++) enter();
  assert.equal(error(enter(within(25_000))).code, 'deadline_unmeetable');
  assert.equal(admitted(enter({ ...within(25_000), priority: 'high' })).position, 1);
});

test('[SLMD-ERR-2] a queue that is full says so whatever the deadline, and when an answer later it may not be', () => {
  const { enter } = admissionOf(3, 1);
  for (let i = 0; i < 2; i++) enter();
  const { code, retry_after_ms } = error(enter(within(1)));
  assert.deepEqual([code, retry_after_ms], ['queue_full', 10_000]);
});

test('a prompt of an earlier process is admitted again, whatever its deadline and the bounds', () => {
  const { admission, queue } = admissionOf(3, 1);
  const places = [0, 1, 2].map(() => admission.enterAgain(promptRequest(within(1))));
  assert.deepEqual(
    places.map(({ position }) => position),
    [0, 1, 2],
  );
  assert.equal(queue.depth, 2);
});

test('[SLMD-ADM-4] answers that shared the engine say nothing of one that has it alone, and the other way round', () => {
  const { admission, queue, enter } = admissionOf(3);
  queue.concurrency = 2;
  const slow = { service_ms: 30_000, prefill_ms: 3000, decode_ms: 27_000 };
  admitted(enter(within(12_000)));
  // Nobody has measured yet how long two take together.
  admitted(enter(within(1000)));
  for (let i = 0; i < 3; i++)
    admission.learn(promptRequest(), true, { ...slow, completion_tokens: 10, complete: true });
  assert.equal(error(enter(within(12_000))).code, 'deadline_unmeetable');
  const { eta_ms } = admitted(enter());
  assert.ok((eta_ms ?? 0) > 50_000 && (eta_ms ?? 0) <= 60_000, `${eta_ms}`);
});
