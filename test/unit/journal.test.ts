import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryJournal } from '../../src/journal/memory-journal.ts';

/** A journal that remembers two results, with these ids finished in this order. */
async function journalOf(...ids: string[]): Promise<MemoryJournal> {
  const journal = new MemoryJournal(2);
  for (const id of ids) {
    await journal.accept(id);
    await journal.finish(id, `result of ${id}`);
  }
  return journal;
}

function remembered(journal: MemoryJournal, ids: string): string[] {
  return [...ids].filter((id) => journal.find(id) !== null);
}

test('an id that nobody sent is not known', () => {
  assert.equal(new MemoryJournal(1).find('a'), null);
});

test('an id is accepted until it is finished, and then has its result', async () => {
  const journal = new MemoryJournal(1);
  await journal.accept('a');
  assert.deepEqual(journal.find('a'), { state: 'accepted' });
  await journal.finish('a', 'text');
  assert.deepEqual(journal.find('a'), { state: 'finished', result: 'text' });
});

test('above its bound a journal forgets the result that was finished first', async () => {
  assert.deepEqual(remembered(await journalOf('a', 'b', 'c'), 'abc'), ['b', 'c']);
});

test('the order of forgetting is that of finishing, not that of accepting', async () => {
  const journal = new MemoryJournal(2);
  for (const id of ['a', 'b', 'c']) await journal.accept(id);
  for (const id of ['c', 'b', 'a']) await journal.finish(id, '');
  assert.deepEqual(remembered(journal, 'abc'), ['a', 'b']);
});

test('an accepted id is never forgotten, however many results come after it', async () => {
  const journal = new MemoryJournal(2);
  await journal.accept('x');
  for (const id of 'abcdef') await journal.finish(id, '');
  assert.deepEqual(journal.find('x'), { state: 'accepted' });
  assert.deepEqual(remembered(journal, 'abcdef'), ['e', 'f']);
});

test('forget drops a result and makes room for one more', async () => {
  const journal = await journalOf('a', 'b');
  journal.forget('a');
  journal.forget('a');
  journal.forget('never there');
  await journal.finish('c', '');
  assert.deepEqual(remembered(journal, 'abc'), ['b', 'c']);
});

test('forget leaves alone what has no result yet', async () => {
  const journal = new MemoryJournal(1);
  await journal.accept('a');
  journal.forget('a');
  assert.deepEqual(journal.find('a'), { state: 'accepted' });
});

test('an id that is finished or accepted again takes one place, not two', async () => {
  const journal = await journalOf('a', 'b');
  await journal.finish('b', 'again');
  assert.deepEqual(remembered(journal, 'ab'), ['a', 'b']);
  await journal.accept('b');
  await journal.finish('b', 'once more');
  assert.deepEqual(remembered(journal, 'ab'), ['a', 'b']);
});
