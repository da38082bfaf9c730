import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { TokenBatch } from '../../src/contract/result.ts';
import { TokenStream } from '../../src/mqtt/token-stream.ts';

function streamOf(context: TestContext, sends: () => boolean = () => true) {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const batches: TokenBatch[] = [];
  const send = (batch: TokenBatch) => {
    batches.push(batch);
    return sends();
  };
  const stream = new TokenStream({ id: 'a', attempt: 2, send });
  return { stream, batches, texts: () => batches.map(({ text }) => text) };
}

test('the first piece goes out at once, under its id, its attempt and the number 0', (context) => {
  const { stream, batches } = streamOf(context);
  stream.push('x');
  assert.deepEqual(batches, [{ id: 'a', attempt: 2, seq: 0, text: 'x' }]);
});

test('later pieces are gathered for 75 ms from the first of them, and numbered without a gap', (context) => {
  const { stream, batches, texts } = streamOf(context);
  for (const text of ['a', 'b', 'c']) stream.push(text);
  context.mock.timers.tick(74);
  stream.push('d');
  assert.deepEqual(texts(), ['a']);
  context.mock.timers.tick(1);
  assert.deepEqual(texts(), ['a', 'bcd']);
  stream.push('e');
  context.mock.timers.tick(75);
  assert.deepEqual(
    batches.map(({ seq }) => seq),
    [0, 1, 2],
  );
});

test('512 characters do not wait for the time', (context) => {
  const { stream, texts } = streamOf(context);
  stream.push('a');
  stream.push('x'.repeat(511));
  assert.equal(texts().length, 1);
  stream.push('y');
  assert.deepEqual(texts(), ['a', `${'x'.repeat(511)}y`]);
  context.mock.timers.tick(1000);
  assert.equal(texts().length, 2);
});

test('flush sends what is pending, and nothing where nothing is', (context) => {
  const { stream, texts } = streamOf(context);
  stream.flush();
  stream.push('a');
  stream.push('b');
  stream.flush();
  stream.flush();
  context.mock.timers.tick(1000);
  assert.deepEqual(texts(), ['a', 'b']);
});

test('an empty piece is none', (context) => {
  const { stream, batches } = streamOf(context);
  stream.push('');
  context.mock.timers.tick(1000);
  assert.deepEqual(batches, []);
});

test('a batch that finds no connection is counted, and not sent later', (context) => {
  let connected = false;
  const { stream, texts } = streamOf(context, () => connected);
  stream.push('a');
  stream.push('b');
  stream.flush();
  connected = true;
  stream.push('c');
  stream.flush();
  assert.deepEqual([stream.dropped, texts()], [2, ['a', 'b', 'c']]);
});
