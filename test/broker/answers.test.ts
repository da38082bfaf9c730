import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RequestEvent } from '../../src/contract/result.ts';
import { onEachBroker } from '../support/brokers.ts';
import { fakeModel } from '../support/fake-engine.ts';
import type { TestRequester } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';

onEachBroker('a device answers', (kind) => {
  const stage = new Stage({ after });
  let requester: TestRequester;
  before(async () => {
    ({ requester } = await stage.ready(kind));
  });

  test('[SLMD-RES-1] [SLMD-REQ-1] a bare prompt is answered on a result topic of its own', async () => {
    const result = await requester.askRaw('good morning');
    assert.equal(result.text, 'good morning');
    assert.equal(result.status, 'ok');
    assert.match(result.id, /^r-[0-9a-f-]{36}$/);
  });

  test('[SLMD-RES-1] [SLMD-REQ-4] a JSON request is answered under its id, with its metadata', async () => {
    const result = await requester.ask({
      id: 'my.id:1',
      prompt: 'echo hello there',
      metadata: { room: [7] },
    });
    const { timings, board, ...rest } = result;
    assert.deepEqual(rest, {
      id: 'my.id:1',
      device: 'kitchen',
      model: fakeModel.id,
      status: 'ok',
      text: 'hello there',
      finish_reason: 'stop',
      usage: {
        prompt_tokens: 3,
        cached_tokens: 0,
        completion_tokens: 2,
        speculated_tokens: 0,
        accepted_tokens: 0,
        rerun_tokens: 0,
      },
      attempt: 1,
      metadata: { room: [7] },
    });
    assert.deepEqual(Object.keys(board), ['soc_temp_c', 'throttled', 'energy_j', 'energy_source']);
    assert.equal(typeof timings?.total_ms, 'number');
  });

  test('[SLMD-REQ-4] what a request says reaches the engine, and what it leaves out has the default', async () => {
    const asked = { max_tokens: 7, temperature: 0.5, top_p: 0.9, top_k: 3, min_p: 0.1 };
    const more = { repetition_penalty: 1.1, seed: 4294967295, stop: ['never', 'ever'] };
    const messages = [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'options' },
    ];
    const full = JSON.parse((await requester.ask({ messages, ...asked, ...more })).text);
    const { max_tokens, ...sampling } = asked;
    assert.deepEqual(full, {
      messages,
      max_tokens,
      sampling: { ...sampling, repetition_penalty: 1.1, seed: 4294967295 },
      stop: ['never', 'ever'],
      response_format: null,
    });
    const bare = JSON.parse((await requester.ask('options')).text);
    assert.deepEqual(bare.messages, [{ role: 'user', content: 'options' }]);
    assert.equal(bare.sampling.temperature, 0);
    assert.deepEqual(bare.stop, []);
  });

  test('[SLMD-FMT-1] [SLMD-FMT-3] a schema reaches the engine, and the value of a whole answer is in the result', async () => {
    const schema = { type: 'object', properties: { messages: {} } };
    const response_format = { type: 'json_schema' as const, json_schema: { name: 'lamp', schema } };
    const { json, text } = await requester.ask({ prompt: 'options', response_format });
    assert.deepEqual(json, JSON.parse(text));
    assert.deepEqual((json as { response_format: unknown }).response_format, { type: 'json_schema', schema });
    const cut = await requester.ask({ prompt: 'echo { }', response_format, max_tokens: 1 });
    assert.deepEqual([cut.json, cut.finish_reason, cut.status], [null, 'length', 'ok']);
  });

  test('[SLMD-RES-3] max_tokens ends an answer with length, a stop text with stop', async () => {
    const cut = await requester.ask({ prompt: 'echo one two three', max_tokens: 2 });
    assert.deepEqual([cut.text, cut.finish_reason], ['one two ', 'length']);
    const stopped = await requester.ask({ prompt: 'echo one two three', stop: 'two' });
    assert.deepEqual([stopped.text, stopped.finish_reason], ['one ', 'stop']);
  });

  test('[SLMD-EVT-1] [SLMD-EVT-2] a request is announced as accepted, then as started, then answered', async () => {
    const id = await requester.send('echo hello');
    await requester.result(id);
    const [accepted, started, ...others] = requester.events(id);
    assert.deepEqual(started, { id, event: 'started', attempt: 1 } satisfies RequestEvent);
    assert.deepEqual(Object.keys(accepted ?? {}), ['id', 'event', 'position', 'eta_ms']);
    assert.deepEqual([accepted?.event, others.length], ['accepted', 0]);
    const topics = requester.heard.all.map(({ topic }) => topic).filter((topic) => topic.endsWith(`/${id}`));
    assert.equal(topics.at(-1), `slmd/kitchen/result/${id}`);
  });

  test('[SLMD-EVT-1] the position of a request counts those that go first', async () => {
    const running = await requester.send('slow 20');
    await requester.event(running, 'started');
    const ids = [await requester.send('echo 1'), await requester.send('echo 2')];
    await Promise.all(ids.map((id) => requester.result(id)));
    const positions = ids
      .map((id) => requester.events(id)[0])
      .map((event) => event && 'position' in event && event.position);
    assert.deepEqual(positions, [1, 2]);
  });

  test('[SLMD-TOK-1] [SLMD-TOK-2] pieces are numbered from 0 and joined they are the text', async () => {
    const id = await requester.send('slow 30');
    const { text } = await requester.result(id);
    const pieces = requester.tokens(id);
    assert.equal(pieces.map((piece) => piece.text).join(''), text);
    assert.deepEqual(
      pieces.map(({ seq }) => seq),
      [...pieces.keys()],
    );
    assert.ok(pieces.every((piece) => piece.id === id && piece.attempt === 1));
    assert.equal(pieces[0]?.text, 't0 ', 'the first token is not kept back');
    assert.ok(pieces.length < 30, 'later tokens are gathered');
  });

  test('[SLMD-TOK-1] an engine that is faster than 75 ms is sent on in pieces of 512 characters', async () => {
    const id = await requester.send('long 5000');
    const { text } = await requester.result(id);
    const lengths = requester.tokens(id).map((piece) => piece.text.length);
    assert.equal(
      lengths.reduce((sum, length) => sum + length, 0),
      text.length,
    );
    assert.ok(lengths.length >= 9 && lengths.length <= 13, `${lengths}`);
    assert.ok(Math.max(...lengths) < 600, `${lengths}`);
  });

  test('[SLMD-TOK-1] a request with stream: false has no pieces, only its result', async () => {
    const id = await requester.send({ prompt: 'echo hello', stream: false });
    assert.equal((await requester.result(id)).text, 'hello');
    assert.deepEqual(requester.tokens(id), []);
  });

  test('[SLMD-RES-4] phases add up to the total and to the time to the first token', async () => {
    const waited = requester.send('slow 10').then((id) => requester.result(id));
    const { timings, usage } = await requester.ask('slow 5');
    await waited;
    assert.ok(timings !== null && usage !== null);
    const { queue_ms, tokenize_ms, prefill_ms, decode_ms, total_ms, ttft_ms, tpot_ms } = timings;
    assert.ok(Math.abs(queue_ms + tokenize_ms + prefill_ms + decode_ms - total_ms) <= 1);
    assert.ok(Math.abs(queue_ms + tokenize_ms + prefill_ms - ttft_ms) <= 1);
    assert.ok(queue_ms >= 100, `it waited for another: ${queue_ms}`);
    assert.ok(Math.abs((tpot_ms ?? 0) - decode_ms / (usage.completion_tokens - 1)) < 0.1);
  });

  test('[SLMD-RES-4] an answer of one token has no time per token', async () => {
    const { timings } = await requester.ask('echo hello');
    assert.equal(timings?.tpot_ms, null);
    assert.equal(timings?.decode_tokens_per_second, null);
  });

  test('[SLMD-REQ-8] a prompt that does not fit with its max_tokens ends with prompt_too_long', async () => {
    const request = { prompt: 'echo hello', max_tokens: fakeModel.context_length };
    const { status, error } = await requester.ask(request);
    assert.deepEqual([status, error?.code, error?.retryable], ['error', 'prompt_too_long', false]);
  });

  test('[SLMD-REQ-8] without max_tokens the default bounds an answer, and gives way to the context', async () => {
    const words = (count: number) => `echo${' word'.repeat(count)}`;
    const bounded = await requester.ask(words(600));
    assert.deepEqual([bounded.finish_reason, bounded.usage?.completion_tokens], ['length', 512]);
    const squeezed = await requester.ask(words(fakeModel.context_length - 11));
    assert.deepEqual([squeezed.finish_reason, squeezed.usage?.completion_tokens], ['length', 10]);
  });

  test('[SLMD-RES-2] an engine that reports an error ends this request and answers the next', async () => {
    const { status, error, text, usage, timings, attempt } = await requester.ask('fail');
    assert.deepEqual([status, error?.code, text, usage, timings], ['error', 'engine_failed', '', null, null]);
    assert.equal(attempt, 1, 'a request that an engine refuses is not tried again');
    assert.equal((await requester.ask('echo hello')).text, 'hello');
  });

  test('an engine that sends rubbish is not believed, and its answer counts', async () => {
    const result = await requester.ask('garbage');
    assert.deepEqual([result.status, result.text], ['ok', 'clean']);
  });

  test('[SLMD-TOPIC-1] nothing is published anywhere but on the topics of the contract', async () => {
    await requester.ask('echo hello');
    const known =
      /^(slmd\/kitchen\/(prompt|cancel|ack|status|info|telemetry|probe|(event|token|result)\/[\w.:-]{1,128})|homeassistant\/device\/slmd_kitchen\/config)$/;
    const strange = requester.heard.all.filter(({ topic }) => !known.test(topic));
    assert.deepEqual(
      strange.map(({ topic }) => topic),
      [],
    );
  });
});
