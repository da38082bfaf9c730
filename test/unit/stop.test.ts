import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../src/engine/random.ts';
import { StopFilter } from '../../src/engine/stop.ts';

/** Sends pieces until the filter stops, as a generation does; every text given on is kept apart. */
function stream(stops: string[], pieces: string[]): { given: string[]; stopped: boolean } {
  const filter = new StopFilter(stops);
  const given: string[] = [];
  for (const piece of pieces) {
    given.push(filter.push(piece));
    if (filter.stopped) break;
  }
  given.push(filter.flush());
  return { given, stopped: filter.stopped };
}

/** What the answer must be, found character by character in the whole text. */
function cut(text: string, stops: string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    const longest = Math.max(0, ...complete.map((stop) => stop.length));
    if (longest > 0) return { text: text.slice(0, end - longest), stopped: true };
  }
  return { text, stopped: false };
}

test('random texts cut into random pieces give the text before the first complete stop string', () => {
  const random = seededRandom(11);
  const below = (n: number) => Math.floor(random() * n);
  const word = (length: number) => Array.from({ length }, () => 'abcé'[below(4)]).join('');
  for (let round = 0; round < 20_000; round++) {
    const text = word(below(24));
    const stops = Array.from({ length: below(4) }, () => word(1 + below(5)));
    const pieces: string[] = [];
    for (let at = 0; at < text.length; ) {
      const length = below(5);
      pieces.push(text.slice(at, at + length));
      at += length;
    }
    const expected = cut(text, stops);
    const actual = stream(stops, pieces);
    const story = JSON.stringify({ text, stops, pieces });
    assert.equal(actual.given.join(''), expected.text, story);
    assert.equal(actual.stopped, expected.stopped, story);
  }
});

test('a piece that may become a stop string is held and released when it does not', () => {
  const filter = new StopFilter(['\n\nUser:']);
  assert.equal(filter.push('Hello.\n'), 'Hello.');
  assert.equal(filter.push('\nUse'), '');
  assert.equal(filter.push('ful'), '\n\nUseful');
  assert.equal(filter.flush(), '');
});

test('what is held when the text ends without a stop string is part of the answer', () => {
  const filter = new StopFilter(['END']);
  assert.equal(filter.push('the EN'), 'the ');
  assert.equal(filter.flush(), 'EN');
});

test('without stop strings every piece passes at once', () => {
  const filter = new StopFilter([]);
  assert.equal(filter.push('a'), 'a');
  assert.equal(filter.push('b'), 'b');
});

test('of two stop strings complete at the same character the longer one is cut off', () => {
  assert.deepEqual(stream(['b', 'ab'], ['xab']).given.join(''), 'x');
});

test('after a stop string nothing more is given on', () => {
  const filter = new StopFilter(['.']);
  assert.equal(filter.push('a.b'), 'a');
  assert.equal(filter.push('c'), '');
  assert.equal(filter.flush(), '');
});
