import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idPattern } from '../../src/contract/topics.ts';
import { readMessage } from '../../src/mqtt/inbox.ts';
import { inbox, promptMessage, read, refusalOf, requestOf } from '../support/messages.ts';

test('whatever an id message holds, it is an id or ignored', () => {
  const { cancel, ack } = inbox.topics;
  for (const topic of [cancel, ack]) {
    for (const text of ['{"id":"a"}', ' {"id":"A.b_c:d-9"} '])
      assert.equal(readMessage(promptMessage(text, { topic }), inbox).kind, topic.split('/').at(-1));
    for (const text of [
      '',
      'a',
      '"a"',
      '{}',
      '{"id":7}',
      '{"id":"a/b"}',
      '{"id":""}',
      '{"id":"a","b":1}',
      'null',
    ])
      assert.equal(readMessage(promptMessage(text, { topic }), inbox).kind, 'ignored', text);
    const long = `{"id":"a"}${' '.repeat(2000)}`;
    assert.equal(readMessage(promptMessage(long, { topic }), inbox).kind, 'ignored');
    assert.equal(readMessage(promptMessage('{"id":"a"}', { topic, retained: true }), inbox).kind, 'ignored');
  }
});

const reply = { response_topic: 'slmd/me/response/1', correlation: Buffer.from([0, 1, 255]) };

test('the same Response Topic and Correlation Data give the same id, whatever the prompt says', () => {
  const { id } = requestOf('one', reply);
  assert.match(id, idPattern);
  assert.equal(requestOf('two', { ...reply, correlation: Buffer.from(reply.correlation) }).id, id);
  assert.equal(refusalOf('{', reply).id, id, 'a refusal as well');
});

test('another Response Topic or other Correlation Data give another id', () => {
  const variants = [
    reply,
    { ...reply, correlation: Buffer.from([0, 1, 254]) },
    { ...reply, response_topic: 'slmd/me/response/2' },
    { response_topic: 'slmd/me/response/', correlation: Buffer.from('1') },
    { response_topic: 'slmd/me/response/1', correlation: Buffer.from('') },
  ];
  const ids = variants.map((more) => requestOf('hi', more).id);
  assert.equal(new Set(ids).size, ids.length);
});

test('without both of them each message has an id of its own', () => {
  for (const more of [{}, { ...reply, correlation: null }, { ...reply, response_topic: null }])
    assert.notEqual(requestOf('hi', more).id, requestOf('hi', more).id);
});

test('an id that is given wins over the one that would be derived', () => {
  assert.equal(requestOf({ id: 'mine', prompt: 'hi' }, reply).id, 'mine');
});

test('a message on another topic is ignored', () => {
  assert.equal(read('hi', { topic: 'slmd/kitchen/result/a' }).kind, 'ignored');
});
