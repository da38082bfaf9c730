import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byGrammar, draftOf, foretoldDraft } from '../../src/engine/draft.ts';
import { leadOf, lostOf } from '../../src/engine/lead.ts';
import { Speculation } from '../../src/engine/speculation.ts';

const costs = [1.2, 1.4, 1.6];
const draft = (match: number) => ({ ids: [1, 2, 3], match });

test('a draft is what followed where most of the last tokens stood before, of several the last', () => {
  assert.deepEqual(draftOf([1, 2, 3, 9, 2, 3, 8, 1, 2, 3], 3), { ids: [9, 2, 3], match: 3 });
  assert.deepEqual(draftOf([5, 7, 5, 8, 5], 1), { ids: [8], match: 1 });
  assert.deepEqual(draftOf([4, 4], 3), { ids: [4], match: 1 });
  assert.equal(draftOf([1, 2, 3], 3), null);
});

test('what a grammar foretells is a draft up to where no token can reach beyond it', () => {
  // One token for each character.
  const encode = (text: string) => [...text].map((character) => character.charCodeAt(0));
  const drafted = (text: string, most = 9) =>
    String.fromCharCode(...(foretoldDraft(text, encode, most)?.ids ?? []));
  for (const whole of ['a":"', '":', ',"b":{', '["']) assert.equal(drafted(whole), whole);
  for (const open of ['turn_o', 'x"}', '",']) assert.equal(drafted(open), open.slice(0, -1));
  assert.equal(drafted('name":"', 3), 'nam');
  assert.equal(foretoldDraft('', encode, 3), null);
  assert.equal(foretoldDraft('}', encode, 3), null);
});

test('drafts of a grammar are judged apart from those of a prompt', () => {
  const estimate = new Speculation({ costs, difference: 0 }).begin();
  assert.equal(estimate.worth(draft(byGrammar)), 3);
  for (let i = 0; i < 40; i++) estimate.noteToken(3, false);
  assert.deepEqual([estimate.worth(draft(3)), estimate.worth(draft(byGrammar))], [0, 3]);
  for (let i = 0; i < 40; i++) estimate.noteToken(byGrammar, false);
  assert.equal(estimate.worth(draft(byGrammar)), 0);
});

test('drafts that are right grow, and drafts that are wrong end, match by match', () => {
  const estimate = new Speculation({ costs, difference: 0 }).begin();
  for (let i = 0; i < 20; i++) {
    estimate.noteToken(3, true);
    estimate.noteToken(1, false);
  }
  assert.equal(estimate.worth(draft(3)), 3);
  assert.equal(estimate.worth(draft(1)), 0);
});

test('what one answer has taught is where the next begins', () => {
  const speculation = new Speculation({ costs, difference: 0 });
  const first = speculation.begin();
  assert.ok(first.worth(draft(2)) > 0);
  for (let i = 0; i < 200; i++) first.noteToken(2, false);
  assert.equal(speculation.begin().worth(draft(2)), 0);
});

test('where runs of several tokens take as long as these alone, there is no draft, however right', () => {
  const estimate = new Speculation({ costs: [2, 3, 4], difference: 0 }).begin();
  for (let i = 0; i < 100; i++) estimate.noteToken(3, true);
  assert.equal(estimate.worth(draft(3)), 0);
});

test('where not even a draft that is all right pays, nothing may be guessed', () => {
  const mayPay = (costs: number[]) => new Speculation({ costs, difference: 0 }).mayPay;
  assert.deepEqual([mayPay([2, 3, 4]), mayPay([1.9, 3, 3]), mayPay(costs)], [false, true, true]);
});

test('a long context, in which they take longer than at load, ends drafts', () => {
  const estimate = new Speculation({ costs, difference: 0 }).begin();
  for (let i = 0; i < 40; i++) {
    estimate.noteRun(0, 10);
    for (const drafted of [1, 2, 3]) estimate.noteRun(drafted, 45);
  }
  assert.equal(estimate.worth(draft(3)), 0);
});

test('where it takes long to forget what was wrong, drafts that may be wrong are not run, and those that are right are', () => {
  const speculation = new Speculation({ costs, difference: 0 });
  const begun = () => {
    const estimate = speculation.begin();
    estimate.noteRun(0, 10);
    return estimate;
  };
  assert.ok(begun().worth(draft(2)) > 0);
  const estimate = begun();
  estimate.noteRun(0, 30, true);
  assert.equal(estimate.worth(draft(2)), 0);
  for (let i = 0; i < 100; i++) estimate.noteToken(2, true);
  assert.ok(estimate.worth(draft(2)) > 0);
  // What was forgotten says nothing of how long a token alone takes.
  const other = begun();
  for (let i = 0; i < 40; i++) other.noteRun(0, 11, true);
  other.noteRun(3, 16);
  assert.ok(other.worth(draft(3)) > 0);
});

test('a token that something else held up makes no longer run look cheap', () => {
  const estimate = new Speculation({ costs: [1.9, 2.9, 3.9], difference: 0 }).begin();
  for (let i = 0; i < 100; i++) estimate.noteToken(3, true);
  estimate.noteRun(0, 10);
  estimate.noteRun(0, 1000);
  for (let i = 0; i < 20; i++) estimate.noteRun(1, 19);
  assert.equal(estimate.worth(draft(3)), 0);
});

test('[SLMD-RES-11] a lead that lost more than was measured at load widens what is in doubt, for good', () => {
  const speculation = new Speculation({ costs, difference: 0.1 });
  const measured = speculation.tolerance;
  speculation.noteLost(0.1);
  assert.equal(speculation.tolerance, measured);
  speculation.noteLost(0.5);
  const learned = speculation.tolerance;
  assert.ok(learned > measured);
  speculation.noteLost(0.2);
  assert.equal(speculation.tolerance, learned);
});

test('how far a token is ahead, and what other logits take of that', () => {
  const lead = leadOf(Float32Array.of(1, 4, 2.5, -3));
  assert.deepEqual(lead, { id: 1, lead: 1.5 });
  assert.equal(lostOf(lead, Float32Array.of(1, 4, 2.5, 9)), 6.5);
  assert.equal(lostOf(lead, Float32Array.of(1, 4, 3, -3)), 0.5);
  assert.deepEqual(leadOf(Float32Array.of(7, 7)), { id: 0, lead: 0 });
  // One that a grammar leaves no other beside is never in doubt.
  const never = Number.NEGATIVE_INFINITY;
  assert.equal(leadOf(Float32Array.of(never, -8, never)).lead, Number.POSITIVE_INFINITY);
});

test('tokens that are in doubt and run again end drafts, and later answers try them anew', () => {
  const speculation = new Speculation({ costs, difference: 0.1 });
  const estimate = speculation.begin();
  for (let i = 0; i < 50; i++) {
    estimate.noteDoubt(0, 10);
    estimate.noteDoubt(10, 0);
  }
  assert.equal(estimate.worth(draft(2)), 0);
  for (let answers = 0; answers < 120; answers++) speculation.begin();
  assert.ok(speculation.begin().worth(draft(2)) > 0);
});
