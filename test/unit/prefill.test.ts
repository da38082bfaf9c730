import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prefillGrain, prefillRuns, reusableTokens } from '../../src/engine/prefill.ts';

test('runs cover what is left of a prompt, in order, none longer than its chunk by more than a token', () => {
  for (const chunk of [1, 32, 50, 128])
    for (let prompt = 1; prompt < 300; prompt++)
      for (let cached = 0; cached < prompt; cached += prefillGrain) {
        if (prompt - cached < 2 && cached > 0) continue;
        const runs = prefillRuns(cached, prompt, chunk);
        assert.deepEqual([runs[0]?.start, runs.at(-1)?.end], [cached, prompt]);
        for (const [i, { start, end }] of runs.entries()) {
          assert.ok(end > start && end - start <= Math.max(chunk, prefillGrain));
          assert.equal(start, i === 0 ? cached : runs[i - 1]?.end);
        }
      }
});

test('no run has a single row left over, but that of a prompt of one token', () => {
  for (let prompt = 2; prompt < 300; prompt++)
    for (const { start, end } of prefillRuns(0, prompt, 64)) assert.notEqual((end - start) % prefillGrain, 1);
  assert.deepEqual(prefillRuns(0, 1, 64), [{ start: 0, end: 1 }]);
});

test('what a prompt shares with the last one is used in whole grains, and two tokens are left to run', () => {
  const tokens = Array.from({ length: 200 }, (_, i) => i);
  assert.equal(reusableTokens(tokens, [...tokens, 7, 7]), 192);
  assert.equal(reusableTokens(tokens, tokens), 192);
  assert.equal(reusableTokens(tokens, tokens.slice(0, 97)), 64);
  assert.equal(reusableTokens(tokens, [...tokens.slice(0, 63), 999, 999, 999]), 32);
  assert.equal(reusableTokens(tokens, [999, ...tokens]), 0);
  assert.equal(reusableTokens([], tokens), 0);
  assert.equal(reusableTokens(tokens, [0]), 0);
});
