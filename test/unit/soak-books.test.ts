import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Result } from '../../src/contract/result.ts';
import { Books } from '../soak/books.ts';
import { okResult } from '../support/results.ts';

const bytes = (more: Partial<Result> = {}) => Buffer.from(JSON.stringify(okResult(more)));
const refusal = { status: 'rejected', error: { code: 'queue_full', message: '', retryable: true } } as const;

function books(...ids: string[]): Books {
  const kept = new Books();
  for (const id of ids) kept.asked(id, `what ${id} wants to know`);
  return kept;
}

test('a prompt without a result is lost, and one that was only refused is too', () => {
  const kept = books('a', 'b', 'c');
  assert.equal(kept.heard(bytes({ id: 'a' }))?.id, 'a');
  assert.equal(kept.heard(bytes({ id: 'b', ...refusal })), null);
  const { lost, answered, refusals, statuses } = kept.verdict();
  assert.deepEqual([lost, answered, refusals, statuses], [['b', 'c'], 1, { queue_full: 1 }, { ok: 1 }]);
});

test('a result that comes again is none more; one that differs in a byte, on the wire or in the journal, conflicts', () => {
  const kept = books('a', 'b', 'c');
  for (const id of ['a', 'b', 'c']) for (const _ of [1, 2]) kept.heard(bytes({ id }));
  kept.heard(bytes({ id: 'b', attempt: 2 }));
  kept.fixed('a', bytes({ id: 'a' }).toString());
  kept.fixed('c', bytes({ id: 'c', text: 'other' }).toString());
  const { conflicting, heard_again, repeated_attempts } = kept.verdict();
  assert.deepEqual([conflicting, heard_again, repeated_attempts], [['b', 'c'], 4, 1]);
});

test('what ended twice, or is fixed in two ways, was computed twice; an attempt that did not end was not', () => {
  const kept = books('a', 'b', 'c');
  kept.heard(bytes({ id: 'a', attempt: 3 }));
  for (const id of ['a', 'b', 'b']) kept.logged(`{"id":"${id}","msg":"ended"}`);
  for (const text of ['one', 'two']) kept.fixed('c', text);
  assert.deepEqual(kept.verdict().computed_twice, ['b', 'c']);
});

test('a line of the log that quotes a prompt or an answer is found, whichever comes first', () => {
  const kept = books('a', 'b');
  const quoting = ['{"msg":"what a wants to know"}', '{"msg":"it is \\"a secret\\""}'];
  for (const line of ['{"msg":"harmless"}', ...quoting]) kept.logged(line);
  kept.heard(bytes({ id: 'b', text: 'it is "a secret"' }));
  assert.deepEqual(kept.verdict().quoting, quoting);
});

test('an id that nobody asked breaks the run', () => {
  assert.throws(() => books('a').heard(bytes({ id: 'b' })));
});
