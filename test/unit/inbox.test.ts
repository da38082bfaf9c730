import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes } from '../../src/contract/errors.ts';
import { idPattern } from '../../src/contract/topics.ts';
import { type IncomingMessage, type Reading, readMessage } from '../../src/mqtt/inbox.ts';
import { inbox, promptMessage, read, refusalOf, requestOf } from '../support/messages.ts';
import { randomNumbers } from '../support/random.ts';

const rounds = 100_000;
const random = randomNumbers(20_260_101);
const below = (bound: number) => Math.floor(random() * bound);
const pick = <T>(from: readonly T[]): T => from[below(from.length)] as T;

const names = [
  ...['id', 'prompt', 'messages', 'max_tokens', 'temperature', 'top_p', 'top_k', 'min_p', 'stop', 'stream'],
  ...['repetition_penalty', 'seed', 'response_format', 'deadline_ms', 'priority', 'metadata'],
  ...['__proto__', 'constructor', 'toString', 'nonsense', ''],
];
const texts = [
  '',
  'a',
  'hi there',
  'high',
  'text',
  'json_schema',
  '\0',
  '\ud800',
  '🙂',
  'x'.repeat(200),
  '{}',
];
const numbers = [0, 1, -1, 0.5, 2, 64, 1e9, 1e308, -0, 2 ** 32, 2 ** 53];

/** Values that the contract takes: without them hardly a message would come past the first check. */
const plausible = new Map<string, readonly unknown[]>(
  Object.entries({
    id: ['a', 'A.b_c:d-9'],
    messages: [[{ role: 'user', content: 'hi' }]],
    max_tokens: [1, 64],
    temperature: [0, 0.5],
    top_p: [0.5, 1],
    top_k: [0, 64],
    stop: ['x', ['x', 'y']],
    stream: [true, false],
    seed: [0, 2 ** 32 - 1],
    response_format: [
      { type: 'text' },
      { type: 'json_object' },
      { type: 'json_schema', json_schema: { schema: {} } },
    ],
    deadline_ms: [1, 1e6],
    priority: ['low', 'normal', 'high'],
    metadata: [{}, { room: 1 }],
  }),
);

/** Any JSON value, now and then one that the contract knows. */
function value(depth = 0): unknown {
  const kind = below(depth > 3 ? 6 : 9);
  if (kind < 2) return pick(texts);
  if (kind < 4) return pick(numbers);
  if (kind === 4) return random() < 0.5;
  if (kind === 5) return null;
  if (kind === 6) return Array.from({ length: below(4) }, () => value(depth + 1));
  if (kind === 7) return [{ role: pick(['user', 'system', 'tool']), content: value(depth + 1) }];
  return object(depth + 1);
}

function object(depth = 0): object {
  return JSON.parse(`{${members(depth).join(',')}}`);
}

/** Written as text, so that `__proto__` and names that repeat are what a requester may send. */
function members(depth: number): string[] {
  return Array.from({ length: below(5) }, () => {
    const name = pick(names);
    const known = plausible.get(name);
    const held = known !== undefined && random() < 0.8 ? pick(known) : value(depth);
    return `${JSON.stringify(name)}:${JSON.stringify(held)}`;
  });
}

function payload(): Buffer {
  const kind = below(6);
  if (kind === 0) return Buffer.from(Array.from({ length: below(60) }, () => below(256)));
  if (kind === 1) return Buffer.from(pick(texts));
  const json = `{${[...members(0), ...(random() < 0.7 ? ['"prompt":"hi"'] : [])].join(',')}}`;
  if (kind === 2) return Buffer.from(json.slice(0, below(json.length + 1)));
  if (kind === 3) return Buffer.from(json.replaceAll(/[a-z]/g, (c) => (random() < 0.05 ? pick(texts) : c)));
  if (kind === 4 && random() < 0.02) return Buffer.alloc(4000 + below(200), random() < 0.5 ? '{"a":' : 'x');
  return Buffer.from(json);
}

function anyMessage(): IncomingMessage {
  const { prompt, cancel, ack } = inbox.topics;
  return {
    topic: random() < 0.9 ? prompt : pick([cancel, ack, 'other', '']),
    payload: payload(),
    retained: random() < 0.1,
    received_at: random() * 1e9,
    response_topic:
      random() < 0.7 ? null : pick(['slmd/me/response/1', 'elsewhere', '', '+/#', 'a\0', '$SYS/x']),
    correlation: pick([null, Buffer.alloc(0), Buffer.from([1, 2, 255]), Buffer.alloc(300)]),
    expiry_s: pick([null, 0, 1, 4_294_967_295]),
    traceparent: pick([null, '', '00-ab-cd-01', 'x'.repeat(5000)]),
  };
}

/** What a reading may be; throws where it is anything else. */
function checkReading(reading: Reading): void {
  if (reading.kind === 'refusal') {
    const { id, error } = reading.refusal;
    assert.match(id, idPattern);
    assert.ok(Object.hasOwn(errorCodes, error.code), error.code);
    assert.ok(error.message.length < 1000, 'a refusal is not longer than a sentence');
  } else if (reading.kind === 'prompt') {
    const { id, messages, sampling, max_tokens, deadline_at, received_at } = reading.request;
    assert.match(id, idPattern);
    assert.ok(messages.length > 0 && messages.every(({ content }) => typeof content === 'string'));
    assert.ok(Object.values(sampling).every(Number.isFinite));
    assert.ok(max_tokens === null || max_tokens >= 1);
    assert.ok(deadline_at === null || deadline_at >= received_at);
  } else if (reading.kind === 'ignored') assert.ok(reading.why !== '');
  else assert.match(reading.id, idPattern);
}

test(`whatever ${rounds} messages hold, each is one of five readings, and a refusal has a known code and a valid id`, () => {
  const seen: Record<string, number> = {};
  for (let round = 0; round < rounds; round++) {
    const message = anyMessage();
    try {
      const reading = readMessage(message, inbox);
      checkReading(reading);
      const kind = reading.kind === 'refusal' ? reading.refusal.error.code : reading.kind;
      seen[kind] = (seen[kind] ?? 0) + 1;
    } catch (error) {
      assert.fail(`round ${round}: ${message.payload.toString('latin1').slice(0, 300)}: ${String(error)}`);
    }
  }
  // A generator that no longer reaches a reading proves nothing about it.
  for (const kind of [
    ...[
      'prompt',
      'cancel',
      'ack',
      'ignored',
      'invalid_request',
      'unknown_field',
      'payload_too_large',
      'retained_request',
    ],
    ...['response_topic_forbidden', 'schema_unsupported'],
  ])
    assert.ok((seen[kind] ?? 0) > 0, `${kind} was never seen: ${JSON.stringify(seen)}`);
});

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
