import assert from 'node:assert/strict';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Journal } from '../../src/journal/journal.ts';
import { decodeRecord } from '../../src/journal/record.ts';
import { FaultyStorage } from '../support/faulty-storage.ts';
import { journalFile, journalOptions, noRouting, openJournal, promptOf } from '../support/journal.ts';
import { temporaryDir } from '../support/temporary.ts';

test('requests that arrive together share one fdatasync', async (t) => {
  const storage = new FaultyStorage();
  const journal = await openJournal(t, journalOptions(temporaryDir(t), { storage }));
  await Promise.all(Array.from({ length: 100 }, (_, i) => journal.accept(promptOf(`r-${i}`))));
  assert.ok(storage.calls.datasync <= 2, `${storage.calls.datasync} calls`);
});

test('what follows from one event shares one fdatasync, such as an answer and the start of the next', async (t) => {
  const storage = new FaultyStorage();
  const journal = await openJournal(t, journalOptions(temporaryDir(t), { storage }));
  await Promise.all([journal.accept(promptOf('a')), journal.accept(promptOf('b'))]);
  const before = storage.calls.datasync;
  const next = (async () => {
    for (let steps = 0; steps < 20; steps++) await null;
    await journal.started('b', 1);
  })();
  await Promise.all([journal.finish('a', '{"id":"a"}', noRouting), next]);
  assert.equal(storage.calls.datasync - before, 1);
});

test('what is not on disk yet is not known yet', async (t) => {
  const journal = await openJournal(t, journalOptions(temporaryDir(t)));
  const accepted = journal.accept(promptOf('a'));
  assert.equal(journal.find('a'), null);
  await accepted;
  assert.notEqual(journal.find('a'), null);
});

for (const fault of [
  { on: 'write', code: 'ENOSPC' },
  { on: 'datasync', code: 'EIO' },
  { on: 'open', code: 'EIO' },
] as const) {
  test(`[FAULT-16] [SLMD-PRO-4] when ${fault.on} fails with ${fault.code}, prompts are refused, results wait, and all is well once it works again`, async (t) => {
    const dir = temporaryDir(t);
    const storage = new FaultyStorage();
    const told: string[] = [];
    const recovered = Promise.withResolvers<void>();
    const options = journalOptions(dir, {
      storage,
      trouble: (error) => told.push((error as NodeJS.ErrnoException).code ?? ''),
      recovered: () => recovered.resolve(),
    });
    const journal = await openJournal(t, options);
    if (fault.on !== 'open') await journal.accept(promptOf('a'));

    storage.faults = [fault];
    storage.written_before_failure = 40;
    await assert.rejects(journal.accept(promptOf('b')), { code: 'storage_full' });
    const finished = fault.on === 'open' ? Promise.resolve() : journal.finish('a', '{"id":"a"}', noRouting);
    await assert.rejects(journal.accept(promptOf('c')), { code: 'storage_full' });
    assert.deepEqual(told, [fault.code]);
    assert.notEqual(journal.find('a')?.state, 'finished');

    storage.faults = [];
    await recovered.promise;
    await finished;
    await journal.accept(promptOf('d'));
    await journal.stop();
    const again = await openJournal(t, journalOptions(dir));
    const found = ['a', 'b', 'c', 'd'].map((id) => again.find(id)?.state ?? null);
    assert.deepEqual(found, [fault.on === 'open' ? null : 'finished', null, null, 'accepted']);
    assert.deepEqual(again.recovery, { torn_bytes: 0, damaged_lines: 0 });
  });
}

for (const fault of [
  { on: 'lock', code: 'ENOSPC' },
  { on: 'lock', code: 'EROFS' },
] as const) {
  test(`[FAULT-16] [SLMD-PRO-4] a journal whose disk is in trouble at the start (${fault.code}) knows what it knew, and goes on when the disk works again`, async (t) => {
    const dir = temporaryDir(t);
    const before = await openJournal(t, journalOptions(dir));
    await before.accept(promptOf('a'));
    await before.stop();
    appendFileSync(journalFile(dir), '1234abcd {"kind":"deliv');

    const storage = new FaultyStorage();
    storage.faults = [fault];
    const told: string[] = [];
    const recovered = Promise.withResolvers<void>();
    const options = journalOptions(dir, {
      storage,
      trouble: (error) => told.push((error as NodeJS.ErrnoException).code ?? ''),
      recovered: () => recovered.resolve(),
    });
    const journal = await openJournal(t, options);
    assert.equal(journal.find('a')?.state, 'accepted');
    assert.deepEqual(told, [fault.code]);
    await assert.rejects(journal.accept(promptOf('b')), { code: 'storage_full' });
    const finished = journal.finish('a', '{"id":"a"}', noRouting);

    storage.faults = [];
    await Promise.all([recovered.promise, finished]);
    assert.ok(existsSync(join(dir, 'lock')), 'it is this process’s alone by then');
    await journal.stop();
    const again = await openJournal(t, journalOptions(dir));
    assert.deepEqual(
      ['a', 'b'].map((id) => again.find(id)?.state ?? null),
      ['finished', null],
    );
    assert.deepEqual(again.recovery, { torn_bytes: 0, damaged_lines: 0 });
  });
}

test('a journal in a directory that this process may not use does not start', async (t) => {
  const storage = new FaultyStorage();
  storage.faults = [{ on: 'lock', code: 'EACCES' }];
  await assert.rejects(new Journal(journalOptions(temporaryDir(t), { storage })).start(), { code: 'EACCES' });
});

test('after a failed fdatasync nothing more is written to that file', async (t) => {
  const dir = temporaryDir(t);
  const storage = new FaultyStorage();
  const recovered = Promise.withResolvers<void>();
  const journal = await openJournal(
    t,
    journalOptions(dir, { storage, recovered: () => recovered.resolve() }),
  );
  await journal.accept(promptOf('a'));
  storage.faults = [{ on: 'datasync', code: 'EIO' }];
  await assert.rejects(journal.accept(promptOf('b')));
  storage.faults = [];
  await recovered.promise;
  assert.equal(storage.calls.replace, 1);
  const ids = readFileSync(journalFile(dir), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => decodeRecord(line)?.id);
  assert.deepEqual(ids, ['a']);
});

test('a fresh log that cannot take its name is written again until it can', async (t) => {
  const dir = temporaryDir(t);
  const storage = new FaultyStorage();
  let troubles = 0;
  const recovered = Promise.withResolvers<void>();
  const options = journalOptions(dir, {
    storage,
    finished_max: 1,
    trouble: () => {
      troubles++;
      storage.faults = [];
    },
    recovered: () => recovered.resolve(),
  });
  const journal = await openJournal(t, options);
  storage.faults = [{ on: 'replace', code: 'EIO' }];
  for (let i = 0; troubles === 0; i++) {
    await journal.accept(promptOf(`r-${i}`)).catch(() => undefined);
    if (journal.find(`r-${i}`) === null) break;
    await journal.finish(`r-${i}`, JSON.stringify({ text: 'x'.repeat(2000) }), noRouting);
    await journal.delivered(`r-${i}`);
    await journal.sweep();
  }
  await recovered.promise;
  assert.equal(troubles, 1);
  await journal.accept(promptOf('after'));
  await journal.stop();
  assert.equal((await openJournal(t, journalOptions(dir))).find('after')?.state, 'accepted');
});
