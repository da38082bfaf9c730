import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readMessage } from '../../src/mqtt/inbox.ts';
import { inbox, promptMessage, read, refusalOf, requestOf } from '../support/messages.ts';

test('[SLMD-REQ-1] text that does not start with { is a bare prompt, whatever else it looks like', () => {
  for (const text of ['turn on the lamp', '[1, 2]', '"{}"', '7', ' hello {"id": "x"} ', 'ünïcödé 🙂']) {
    const request = requestOf(text);
    assert.deepEqual(request.messages, [{ role: 'user', content: text }]);
    const { seed, ...sampling } = request.sampling;
    assert.deepEqual(sampling, { temperature: 0, top_k: 40, top_p: 1, min_p: 0, repetition_penalty: 1 });
    assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32);
    assert.deepEqual(
      [request.max_tokens, request.stop, request.stream, request.priority],
      [null, [], true, 'normal'],
    );
    assert.deepEqual([request.metadata, request.deadline_at, request.reply_to], [null, null, null]);
  }
});

test('[SLMD-REQ-1] white space before { does not make a bare prompt of a JSON request', () => {
  assert.deepEqual(requestOf(' \n\t{"prompt": "hi"}').messages, [{ role: 'user', content: 'hi' }]);
});

test('[SLMD-REQ-2] what is not UTF-8, empty, or broken JSON is refused', () => {
  const wrong = [
    Buffer.from([0xc3, 0x28]),
    Buffer.from([0xff]),
    Buffer.from([0xed, 0xa0, 0x80]),
    '',
    ' \n ',
    '{',
    '{"prompt": "x"',
    "{'prompt': 'x'}",
    '{"prompt": "x"} and more',
  ];
  for (const payload of wrong)
    assert.equal(refusalOf(payload).error.code, 'invalid_request', String(payload));
});

test('[SLMD-REQ-3] a request has exactly one of prompt and messages', () => {
  const messages = [{ role: 'user', content: 'hi' }];
  assert.deepEqual(requestOf({ messages }).messages, messages);
  for (const request of [{}, { prompt: 'hi', messages }, { prompt: '' }, { messages: [] }])
    assert.equal(refusalOf(request).error.code, 'invalid_request', JSON.stringify(request));
});

test('[SLMD-REQ-3] messages are 1 to 64 of three roles', () => {
  const chat = (length: number) => Array.from({ length }, () => ({ role: 'user', content: 'hi' }));
  assert.equal(requestOf({ messages: chat(64) }).messages.length, 64);
  assert.equal(refusalOf({ messages: chat(65) }).error.code, 'invalid_request');
  const roles = ['system', 'user', 'assistant'].map((role) => ({ role, content: 'hi' }));
  assert.deepEqual(requestOf({ messages: roles }).messages, roles);
  assert.equal(refusalOf({ messages: [{ role: 'tool', content: 'hi' }] }).error.code, 'invalid_request');
});

test('[SLMD-REQ-4] every member is taken at the ends of its range', () => {
  const members: [string, unknown[]][] = [
    ['id', ['a', 'A.b_c:d-9', 'x'.repeat(128)]],
    ['max_tokens', [1, 1_000_000]],
    ['temperature', [0, 2]],
    ['top_p', [0.001, 1]],
    ['top_k', [0, 1000]],
    ['min_p', [0, 1]],
    ['repetition_penalty', [0.001, 2]],
    ['seed', [0, 2 ** 32 - 1]],
    ['stop', ['x', ['1', '2', '3', '4', '5', '6', '7', '8']]],
    ['stream', [true, false]],
    ['response_format', [{ type: 'text' }]],
    ['deadline_ms', [1, 3_600_000]],
    ['priority', ['low', 'normal', 'high']],
    ['user', ['a', 'x'.repeat(128)]],
    ['metadata', [{}, { a: { b: ['c'] } }]],
  ];
  for (const [name, values] of members)
    for (const value of values) assert.equal(read({ prompt: 'hi', [name]: value }).kind, 'prompt', name);
});

test('[SLMD-REQ-5] a value of the wrong type or range is refused, and its path named', () => {
  const members: [string, unknown[]][] = [
    ['max_tokens', [0, -1, 1.5, '7', null, true, 1e300]],
    ['temperature', [-0.1, 2.1, '1', [], null]],
    ['top_p', [0, 1.1]],
    ['top_k', [-1, 1001, 0.5]],
    ['min_p', [-0.1, 1.1]],
    ['repetition_penalty', [0, 2.1]],
    ['seed', [-1, 2 ** 32, 0.5, '7']],
    ['stop', ['', [], Array(9).fill('x'), [7], 'x'.repeat(65)]],
    ['stream', ['true', 1, null]],
    ['deadline_ms', [0, -1, 'soon']],
    ['priority', ['highest', 1]],
    ['user', ['', 'x'.repeat(129), 7]],
    ['metadata', ['x', [1], null]],
  ];
  for (const [name, values] of members)
    for (const value of values) {
      const { error } = refusalOf({ prompt: 'hi', [name]: value });
      assert.equal(error.code, 'invalid_request', `${name}: ${JSON.stringify(value)}`);
      assert.ok(error.message.startsWith(name), error.message);
    }
});

test('[SLMD-REQ-4] metadata of more than 1 KiB is refused, also where it is nested too deep to be echoed', () => {
  const sized = (bytes: number) => ({ prompt: 'hi', metadata: { a: 'x'.repeat(bytes - '{"a":""}'.length) } });
  assert.equal(read(sized(1024)).kind, 'prompt');
  assert.equal(refusalOf(sized(1025)).error.code, 'invalid_request');
  const depth = 60_000;
  const nested = `{"prompt": "hi", "metadata": {"a": ${'['.repeat(depth)}${']'.repeat(depth)}}}`;
  const reading = readMessage(promptMessage(nested), { ...inbox, payload_bytes_max: 1_000_000 });
  assert.equal(reading.kind === 'refusal' && reading.refusal.error.code, 'invalid_request');
});

test('[SLMD-REQ-4] [SLMD-FMT-2] a response_format that cannot be enforced is refused with a code of its own', () => {
  const formats = [{ type: 'json_schema', json_schema: { name: 'a', schema: { not: {} } } }];
  for (const response_format of formats)
    assert.equal(refusalOf({ prompt: 'hi', response_format }).error.code, 'schema_unsupported');
  assert.equal(refusalOf({ prompt: 'hi', response_format: { type: 'yaml' } }).error.code, 'invalid_request');
});

test('[SLMD-REQ-4] metadata and schemas are taken as they are, members that JavaScript gives a meaning included', () => {
  const metadata = '{"__proto__":{"a":1},"constructor":2,"toJSON":3}';
  assert.equal(JSON.stringify(requestOf(`{"prompt":"hi","metadata":${metadata}}`).metadata), metadata);
  const hidden = `{"prompt":"hi","metadata":{"__proto__":"${'x'.repeat(1100)}"}}`;
  assert.equal(refusalOf(hidden).error.code, 'invalid_request');
  for (const other of [[], 1, 'a', null])
    assert.equal(refusalOf({ prompt: 'hi', metadata: other }).error.code, 'invalid_request');
});

test('[SLMD-REQ-5] a refusal is one line, whatever control characters its names have', () => {
  const name = 'a\n\u0000\u001b[31m\u2028';
  const schema = { type: 'object', properties: { [name]: { not: {} } } };
  for (const request of [
    { prompt: 'hi', [name]: 1 },
    { prompt: 'hi', response_format: { type: 'json_schema', json_schema: { schema } } },
  ])
    assert.doesNotMatch(refusalOf(request).error.message, /[\p{Cc}\u2028]/u);
});

test('[SLMD-REQ-5] an unknown member is refused and named, wherever it is', () => {
  for (const [request, name] of [
    [{ prompt: 'hi', temprature: 1 }, 'temprature'],
    [{ messages: [{ role: 'user', content: 'hi', name: 'bob' }] }, 'messages.0.name'],
    [{ prompt: 'hi', response_format: { type: 'text', strict: true } }, 'response_format.strict'],
    [JSON.parse('{"prompt": "hi", "__proto__": {"stream": false}}'), '__proto__'],
  ] as const) {
    const { error } = refusalOf(request);
    assert.equal(error.code, 'unknown_field');
    assert.ok(error.message.includes(name), error.message);
  }
});

test('[SLMD-REQ-5] [SLMD-TEL-3] a refusal does not repeat a value', () => {
  const secret = 'canary-7f3a';
  const wrong = [
    { prompt: { secret } },
    { prompt: 'hi', priority: secret },
    { prompt: 'hi', seed: secret },
    { messages: [{ role: secret, content: secret }] },
    { prompt: secret, temperature: 9 },
    { prompt: secret, extra: secret },
    { prompt: 'hi', response_format: { type: secret } },
    `{"prompt": "${secret}`,
  ];
  for (const request of wrong) assert.ok(!JSON.stringify(refusalOf(request).error).includes(secret));
});

test('[SLMD-REQ-6] a payload above the bound is refused, one at the bound is not', () => {
  assert.equal(requestOf('x'.repeat(4096)).bytes, 4096);
  assert.equal(refusalOf('x'.repeat(4097)).error.code, 'payload_too_large');
});

test('[SLMD-ADM-1] a requester is its user, else its Response Topic, else one of those that say neither', () => {
  const response_topic = 'slmd/a/response/1';
  const requester = (payload: object | string, more = {}) => requestOf(payload, more).requester;
  assert.equal(requester('hi'), requester({ id: 'b', prompt: 'ho' }));
  const named = { prompt: 'hi', user: 'a' };
  assert.equal(requester(named), requester({ ...named, prompt: 'ho' }, { response_topic }));
  assert.equal(requester('hi', { response_topic }), requester('ho', { response_topic }));
  const different = [
    requester('hi'),
    requester(named),
    requester({ ...named, user: 'b' }),
    requester('hi', { response_topic }),
    requester('hi', { response_topic: 'slmd/a/response/2' }),
    requester({ ...named, user: response_topic }),
  ];
  assert.equal(new Set(different).size, different.length);
});

test('[SLMD-REQ-7] a retained prompt is refused, and an empty one is ignored', () => {
  assert.equal(refusalOf('hi', { retained: true }).error.code, 'retained_request');
  assert.equal(refusalOf({ id: 'a1', prompt: 'hi' }, { retained: true }).id, 'a1');
  assert.equal(read('', { retained: true }).kind, 'ignored');
});

test('[SLMD-ID-1] an id follows from Response Topic and Correlation Data, and else is random', () => {
  const reply = { response_topic: 'slmd/a/response/1', correlation: Buffer.from([1, 2]) };
  const { id } = requestOf('hi', reply);
  assert.equal(requestOf('hi', { ...reply }).id, id);
  assert.notEqual(requestOf('hi', { ...reply, correlation: Buffer.from([1, 3]) }).id, id);
  assert.notEqual(requestOf('hi', { ...reply, response_topic: 'slmd/a/response/2' }).id, id);
  assert.notEqual(requestOf('hi').id, requestOf('hi').id);
  assert.equal(requestOf({ id: 'mine', prompt: 'hi' }, reply).id, 'mine');
});

test('[SLMD-ID-4] a refused JSON request keeps its id where that is a valid one', () => {
  assert.equal(refusalOf({ id: 'a1', prompt: 7 }).id, 'a1');
  assert.equal(refusalOf({ id: 'a1', prompt: 'hi', nonsense: 1 }).id, 'a1');
  assert.equal(refusalOf({ id: 'a1', prompt: 'x'.repeat(5000) }).id, 'a1', 'also where it is too large');
  for (const id of ['', 'a/b', 7, 'x'.repeat(129)])
    assert.match(refusalOf({ id, prompt: 7 }).id, /^r-/, JSON.stringify(id));
});

test('[SLMD-TOPIC-2] an id that could reach into other topics is refused', () => {
  for (const id of ['', 'a/b', '../x', '+', '#', 'a b', 'ä', 'a\n', '\0', 'x'.repeat(129)])
    assert.equal(refusalOf({ id, prompt: 'hi' }).error.code, 'invalid_request', JSON.stringify(id));
});

test('[SLMD-MQTT-1] a Response Topic outside the allow-list is refused, and gets no copy', () => {
  const topics = ['slmd/kitchen/prompt', 'other/response/1', 'slmd/+/response/1', 'slmd/a/response/#', ''];
  for (const response_topic of topics) {
    const { error, reply_to } = refusalOf('hi', { response_topic });
    assert.deepEqual([error.code, reply_to], ['response_topic_forbidden', null], response_topic);
  }
  const correlation = Buffer.from([0, 255]);
  const { reply_to } = requestOf('hi', { response_topic: 'slmd/a/response/b/c', correlation });
  assert.deepEqual(reply_to, { topic: 'slmd/a/response/b/c', correlation });
});

test('[SLMD-MQTT-2] of deadline_ms and the message expiry the earlier counts', () => {
  const deadline = (deadline_ms: number | undefined, expiry_s: number | null) =>
    requestOf({ prompt: 'hi', deadline_ms }, { expiry_s }).deadline_at;
  assert.equal(deadline(500, null), 1500);
  assert.equal(deadline(undefined, 2), 3000);
  assert.equal(deadline(500, 2), 1500);
  assert.equal(deadline(5000, 2), 3000);
  assert.equal(deadline(undefined, null), null);
});

test('[SLMD-MQTT-3] a traceparent is kept, one of any length is not', () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  assert.equal(requestOf('hi', { traceparent }).traceparent, traceparent);
  assert.equal(refusalOf('', { traceparent }).traceparent, traceparent);
  assert.equal(requestOf('hi', { traceparent: 'x'.repeat(129) }).traceparent, null);
});

test('[SLMD-CAN-1] a cancel names a valid id, and anything else on its topic is ignored', () => {
  const cancel = (payload: string | object, retained = false) =>
    read(payload, { topic: inbox.topics.cancel, retained });
  assert.deepEqual(cancel({ id: 'a1' }), { kind: 'cancel', id: 'a1' });
  const wrong = [
    '',
    'a1',
    '{',
    '[]',
    'null',
    { id: 7 },
    { id: 'a/b' },
    { id: 'a1', also: 1 },
    'x'.repeat(2000),
  ];
  for (const payload of wrong) assert.equal(cancel(payload).kind, 'ignored');
  assert.equal(cancel({ id: 'a1' }, true).kind, 'ignored');
});

test('[SLMD-TOPIC-1] a message on any other topic is ignored', () => {
  for (const topic of ['slmd/kitchen/status', 'slmd/other/prompt', 'slmd/kitchen/prompt/x', ''])
    assert.equal(read('hi', { topic }).kind, 'ignored');
});

test('a system prompt that is configured goes before a chat that brings none', () => {
  const options = { ...inbox, defaults: { ...inbox.defaults, system_prompt: 'be brief' } };
  const roles = (payload: object) => {
    const reading = readMessage(promptMessage(payload), options);
    return reading.kind === 'prompt' && reading.request.messages.map(({ content }) => content);
  };
  assert.deepEqual(roles({ prompt: 'hi' }), ['be brief', 'hi']);
  const messages = [
    { role: 'system', content: 'sing' },
    { role: 'user', content: 'hi' },
  ];
  assert.deepEqual(roles({ messages }), ['sing', 'hi']);
});
