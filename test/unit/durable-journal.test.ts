import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import type { PromptRequest } from '../../src/contract/prompt.ts';
import type { Journal } from '../../src/journal/journal.ts';
import { type Moment, momentNow, sinceMs } from '../../src/journal/moment.ts';
import { decodeRecord, encodeRecord, type JournalRecord } from '../../src/journal/record.ts';
import { FaultyStorage } from '../support/faulty-storage.ts';
import {
  journalFile,
  journalOptions,
  noRouting,
  openJournal,
  promptOf,
  stateOf,
} from '../support/journal.ts';
import { randomNumbers } from '../support/random.ts';
import { temporaryDir } from '../support/temporary.ts';
import { until } from '../support/wait.ts';

const at = { boot_id: 'b', monotonic_ms: 1, wall_ms: 2 };

test('a record comes back as it was, Correlation Data and odd characters included', () => {
  const reply_to = { topic: 'slmd/x/response/1', correlation: Buffer.from([0, 255, 10, 13]) };
  const metadata = { base64: 'AAAA', type: 'Buffer', data: [1], text: '\n\u2028\ud83d\ude00' };
  const request = promptOf('a', { reply_to, metadata, traceparent: '00-1-2-03' });
  const routing = { reply_to, traceparent: null };
  for (const record of [
    { kind: 'accepted', id: 'a', at, request },
    { kind: 'started', id: 'a', attempt: 2 },
    { kind: 'started', id: 'a', attempt: 3, oom: { boot_id: 'b', kills: 4 } },
    { kind: 'finished', id: 'a', at, result: '{"text":"\\n"}', routing },
    { kind: 'delivered', id: 'a' },
    { kind: 'forgotten', id: 'a' },
  ] as const) {
    const line = encodeRecord(record);
    assert.equal(line.indexOf('\n'), line.length - 1);
    assert.deepEqual(decodeRecord(line.slice(0, -1)), record);
  }
});

test('a whole line of another version is no record of this one, and keeps nobody from starting', async (t) => {
  const dir = temporaryDir(t);
  const request = promptOf('a');
  const known = { kind: 'accepted', id: 'a', at, request } as const;
  const { sampling: _, ...lacking } = request;
  const others = [
    { ...known, request: lacking },
    { ...known, request: { ...request, messages: 'text' } },
    { ...known, at: 5 },
    { ...known, id: 7 },
    { kind: 'finished', id: 'a', at, result: { text: 'x' }, routing: noRouting },
    { kind: 'finished', id: 'a', at, result: '{}' },
    { kind: 'started', id: 'a' },
    { kind: 'moved', id: 'a', to: 'b' },
    { version: 2 },
    'a text',
    null,
  ] as unknown as JournalRecord[];
  // As that version would write it: `encodeRecord` knows only this one's.
  const foreign = (record: unknown) => {
    const text = JSON.stringify(record);
    return `${crc32(text).toString(16).padStart(8, '0')} ${text}\n`;
  };
  const lines = [
    ...others.map(foreign),
    encodeRecord(known),
    foreign({ kind: 'started', id: 'a', attempt: 'x' }),
  ];
  writeFileSync(journalFile(dir), lines.join(''));
  const journal = await openJournal(t, journalOptions(dir));
  assert.deepEqual(journal.recovery, { torn_bytes: 0, damaged_lines: others.length + 1 });
  assert.deepEqual(
    journal.pending().accepted.map(({ request }) => request.id),
    ['a'],
  );
});

test('a line with any one bit turned is not a record', () => {
  const line = encodeRecord({ kind: 'delivered', id: 'a1' }).slice(0, -1);
  for (let bit = 0; bit < line.length * 8; bit++) {
    const bytes = Buffer.from(line, 'latin1');
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.equal(decodeRecord(bytes.toString('latin1')), null);
  }
});

test('a journal that is opened again knows what it knew, in any order of events', async (t) => {
  const random = randomNumbers(1);
  const options = journalOptions(temporaryDir(t));
  const ids = Array.from({ length: 20 }, (_, i) => `id-${i}`);
  let journal = await openJournal(t, options);
  for (let round = 0; round < 30; round++) {
    const work = Array.from({ length: 20 }, () =>
      randomStep(journal, ids[Math.floor(random() * ids.length)]!, random),
    );
    await Promise.all(work);
    const before = stateOf(journal, ids);
    await journal.stop();
    journal = await openJournal(t, options);
    assert.deepEqual(stateOf(journal, ids), before);
    assert.deepEqual(journal.recovery, { torn_bytes: 0, damaged_lines: 0 });
  }
});

test('[FAULT-16] a log that is cut anywhere still opens, with every record before the cut', async (t) => {
  const dir = temporaryDir(t);
  const path = journalFile(dir);
  const journal = await openJournal(t, journalOptions(dir));
  for (const id of ['a', 'b', 'c']) await journal.accept(promptOf(id));
  await journal.finish('a', '{"id":"a"}', noRouting);
  await journal.stop();
  const whole = readFileSync(path);
  for (let bytes = 0; bytes <= whole.length; bytes += 7) {
    writeFileSync(path, whole);
    truncateSync(path, bytes);
    const cut = await openJournal(t, journalOptions(dir));
    const lines = whole.subarray(0, bytes).filter((byte) => byte === 10).length;
    assert.equal(
      stateOf(cut, ['a', 'b', 'c']).filter((pair) => (pair as unknown[])[1] !== null).length,
      Math.min(3, lines),
    );
    assert.equal(cut.recovery.torn_bytes, bytes - whole.subarray(0, bytes).lastIndexOf(10) - 1);
    // What is appended now must not be glued to the torn line.
    await cut.accept(promptOf('d'));
    await cut.stop();
    const again = await openJournal(t, journalOptions(dir));
    assert.notEqual(again.find('d'), null);
    assert.deepEqual(again.recovery, { torn_bytes: 0, damaged_lines: 0 });
  }
});

test('[FAULT-16] garbage between records is skipped and counted, and the records after it count', async (t) => {
  const dir = temporaryDir(t);
  const path = journalFile(dir);
  const journal = await openJournal(t, journalOptions(dir));
  await journal.accept(promptOf('a'));
  await journal.stop();
  appendFileSync(
    path,
    Buffer.concat([Buffer.from([0, 1, 2, 255, 10]), Buffer.alloc(4096), Buffer.from('\nnot a record\n')]),
  );
  const damaged = await openJournal(t, journalOptions(dir));
  await damaged.accept(promptOf('b'));
  await damaged.stop();
  const again = await openJournal(t, journalOptions(dir));
  assert.equal(again.recovery.damaged_lines, 3);
  assert.deepEqual(
    again.pending().accepted.map(({ request }) => request.id),
    ['a', 'b'],
  );
});

test('a log of much history is written anew, and stays small under ten thousand requests', async (t) => {
  const dir = temporaryDir(t);
  const path = journalFile(dir);
  const journal = await openJournal(t, journalOptions(dir, { finished_max: 50 }));
  let largest = 0;
  for (let i = 0; i < 10_000; i += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, j) => answer(journal, `r-${i + j}`)));
    await journal.sweep();
    largest = Math.max(largest, statSync(path).size);
  }
  assert.ok(largest < 600_000, `${largest} bytes`);
  const before = stateOf(journal, ['r-9999', 'r-0']);
  await journal.stop();
  assert.deepEqual(
    stateOf(await openJournal(t, journalOptions(dir, { finished_max: 50 })), ['r-9999', 'r-0']),
    before,
  );
});

test('what a bound lets go is delivered and oldest; what is not delivered stays', async (t) => {
  const journal = await openJournal(t, journalOptions(temporaryDir(t), { finished_max: 2 }));
  await journal.accept(promptOf('undelivered'));
  await journal.finish('undelivered', '{}', noRouting);
  for (const id of ['a', 'b', 'c']) await answer(journal, id);
  assert.deepEqual(await journal.sweep(), ['a', 'b']);
  assert.notEqual(journal.find('undelivered'), null);
  assert.notEqual(journal.find('c'), null);
});

test('[SLMD-PRO-4] what is not over takes a fifth of the bound at most: then prompts are refused, until something is over', async (t) => {
  const journal = await openJournal(t, journalOptions(temporaryDir(t), { bytes_max: 60_000 }));
  const accepted: string[] = [];
  const refused = await fill(journal, accepted);
  assert.equal((refused as { code?: string }).code, 'storage_full');
  assert.ok(accepted.length > 10 && accepted.length < 100, `${accepted.length} accepted`);
  // An answer that is not delivered is owed still.
  const [first = ''] = accepted;
  await journal.finish(first, '{}', noRouting);
  await journal.delivered(first);
  await journal.accept(promptOf('again'));
  await assert.rejects(journal.accept(promptOf('too many')), { code: 'storage_full' });
});

test('the log takes no more of the disk than its bound, whatever is answered and not delivered', async (t) => {
  const [dir, bytes_max] = [temporaryDir(t), 1_048_576];
  const journal = await openJournal(t, journalOptions(dir, { bytes_max }));
  const owed: string[] = [];
  await fill(journal, owed);
  let largest = 0;
  for (let attempt = 1; attempt <= 60; attempt++) {
    await Promise.all(owed.map((id) => journal.started(id, attempt)));
    largest = Math.max(largest, statSync(journalFile(dir)).size);
  }
  assert.ok(largest <= bytes_max, `${largest} bytes`);
});

for (const [what, more] of [
  ['a long Response Topic', { reply_to: { topic: `slmd/x/${'t'.repeat(60_000)}`, correlation: null } }],
  ['text that JSON escapes', { messages: [{ role: 'user', content: '\0'.repeat(20_000) }], bytes: 20_000 }],
] as [string, Partial<PromptRequest>][])
  test(`what is accepted counts as it is written, ${what} too: the log keeps to its bound, and is not taken for history`, async (t) => {
    const [dir, bytes_max] = [temporaryDir(t), 4_194_304];
    const storage = new FaultyStorage();
    const journal = await openJournal(t, journalOptions(dir, { bytes_max, storage }));
    const owed: string[] = [];
    await fill(journal, owed, more);
    const size = () => statSync(journalFile(dir)).size;
    assert.ok(
      size() > bytes_max / 10 && size() <= bytes_max / 5,
      `${size()} bytes of ${owed.length} prompts`,
    );
    for (let attempt = 1; attempt <= 20; attempt++) await journal.started('fill-0', attempt);
    assert.equal(storage.calls.replace, 0, 'each of these would write it anew');
  });

test('memory ran out during an attempt where the kernel has killed since it began, in the same boot', async (t) => {
  let kills: number | null = 3;
  const dir = temporaryDir(t);
  const options = journalOptions(dir, { oomKills: () => kills });
  const asked = (journal: Journal) => {
    const [entry] = journal.pending().accepted;
    assert.ok(entry !== undefined);
    return journal.memoryRanOut(entry);
  };
  const journal = await openJournal(t, options);
  await journal.accept(promptOf('a'));
  assert.equal(asked(journal), false, 'before any attempt');
  await journal.started('a', 1);
  assert.equal(asked(journal), false);
  await journal.stop();
  const next = await openJournal(t, options);
  assert.equal(asked(next), false);
  kills = 4;
  assert.equal(asked(next), true);
  kills = null;
  assert.equal(asked(next), false, 'a kernel that does not count');
  kills = 4;
  await next.started('a', 2);
  assert.equal(asked(next), false, 'it ran out during the attempt before');
  await next.stop();
  const other = encodeRecord({ kind: 'started', id: 'a', attempt: 3, oom: { boot_id: 'b', kills: 1 } });
  appendFileSync(journalFile(dir), other);
  assert.equal(asked(await openJournal(t, options)), false, 'another boot counts anew');
});

test('an id is forgotten once its retention has passed', async (t) => {
  const options = journalOptions(temporaryDir(t), { retention_ms: 0 });
  const journal = await openJournal(t, options);
  await answer(journal, 'a');
  const ids = await journal.sweep();
  await journal.stop();
  assert.deepEqual(ids, ['a']);
  assert.equal((await openJournal(t, options)).find('a'), null);
});

async function answer(journal: Journal, id: string): Promise<void> {
  await journal.accept(promptOf(id));
  await journal.finish(id, JSON.stringify({ id, text: 'x'.repeat(100) }), noRouting);
  await journal.delivered(id);
}

/** Accepts prompts until one is refused; returns why. */
async function fill(
  journal: Journal,
  accepted: string[],
  more: Partial<PromptRequest> = {},
): Promise<unknown> {
  for (;;) {
    const id = `fill-${accepted.length}`;
    try {
      await journal.accept(promptOf(id, more));
    } catch (error) {
      return error;
    }
    accepted.push(id);
  }
}

function randomStep(journal: Journal, id: string, random: () => number): Promise<void> {
  const known = journal.find(id);
  if (known === null) return journal.accept(promptOf(id));
  if (known.state === 'accepted')
    return random() < 0.5
      ? journal.started(id, known.attempts + 1)
      : journal.finish(id, `{"n":${Math.floor(random() * 1e6)}}`, noRouting);
  return journal.delivered(id);
}

for (const [name, wall_ms] of [
  ['was not set', 0],
  ['was years ahead', Date.now() + 1e12],
] as const)
  test(`what was noted while the clock ${name}, in another boot, counts from this start`, async (t) => {
    const dir = temporaryDir(t);
    const at = { boot_id: 'another', monotonic_ms: 5, wall_ms };
    const records = [
      { kind: 'accepted', id: 'a', at, request: promptOf('a') },
      { kind: 'finished', id: 'b', at, result: '{"id":"b"}', routing: noRouting },
      { kind: 'delivered', id: 'b' },
    ] as const;
    writeFileSync(journalFile(dir), records.map(encodeRecord).join(''));
    const journal = await openJournal(t, journalOptions(dir, { retention_ms: 50 }));
    const { accepted } = journal.pending();
    assert.equal(
      sinceMs(accepted[0]!.at, started(accepted[0]!.at, 20)),
      20,
      'its deadline goes on from here',
    );
    // Forgotten neither before its time nor never.
    await until(() => (journal.find('b') === null ? true : void journal.sweep()), 'b is forgotten');
    assert.notEqual(journal.find('a'), null);
  });

function started(at: Moment, msAgo: number): Moment {
  return { ...momentNow(), monotonic_ms: at.monotonic_ms + msAgo };
}
