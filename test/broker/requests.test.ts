import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import type { Message, TestRequester } from '../support/requester.ts';
import { Stage } from '../support/stage.ts';

onEachBroker('requests that share a device', (kind) => {
  const stage = new Stage({ after });
  let requester: TestRequester;
  before(async () => {
    const limits = {
      queue_depth_max: 4,
      queue_bytes_max: 2048,
      payload_bytes_max: 2048,
    };
    ({ requester } = await stage.ready(kind, { settings: { limits, journal: { results_kept_max: 3 } } }));
  });

  /** A prompt that has begun and keeps the engine busy until it is cancelled. */
  const occupy = async () => {
    const id = await requester.send('slow 100000');
    await requester.event(id, 'started');
    return { id, free: () => requester.cancel(id) };
  };
  const resultsOf = (id: string) =>
    requester.messages(`slmd/kitchen/result/${id}`).map(({ payload }) => payload.toString());

  /** Which of these requests began, in order. */
  const startsSince = (since: number, ids: string[]) =>
    requester.heard.all
      .slice(since)
      .flatMap(({ topic, payload }) =>
        topic.includes('/event/') && payload.includes('started') ? [topic] : [],
      )
      .map((topic) => ids.indexOf(topic.split('/').at(-1) ?? ''));

  test('[SLMD-CAN-1] a request that runs and is cancelled ends with the text there was', async () => {
    const { id, free } = await occupy();
    await requester.on(`slmd/kitchen/token/${id}`);
    await free();
    const { status, error, text, finish_reason } = await requester.result(id);
    assert.deepEqual([status, error?.code, finish_reason], ['cancelled', 'cancelled', 'cancelled']);
    assert.match(text, /^t0 /);
  });

  test('[SLMD-CAN-1] a request that waits and is cancelled ends at once, without any work', async () => {
    const running = await occupy();
    const waiting = await requester.send('echo never');
    await requester.event(waiting, 'accepted');
    await requester.cancel(waiting);
    const { status, text, timings, attempt } = await requester.result(waiting);
    assert.deepEqual([status, text, timings, attempt], ['cancelled', '', null, 0]);
    assert.deepEqual(resultsOf(running.id), [], 'the one that runs is left alone');
    await running.free();
    await requester.result(running.id);
    assert.equal((await requester.ask('echo hello')).text, 'hello');
    assert.deepEqual(
      requester.events(waiting).map(({ event }) => event),
      ['accepted'],
    );
  });

  test('[SLMD-CAN-1] cancelling what is unknown, over, or malformed does nothing', async () => {
    const { id } = await requester.ask('echo hello');
    for (const payload of ['{"id":"nobody"}', JSON.stringify({ id }), '', '{', 'null', '{"id":7}'])
      await requester.publish('slmd/kitchen/cancel', payload);
    assert.equal((await requester.ask('echo still here')).text, 'still here');
    assert.equal(resultsOf(id).length, 1);
  });

  test('[SLMD-ID-2] an id that is sent again before its result starts nothing', async () => {
    const { id, free } = await occupy();
    for (const prompt of ['slow 100000', 'echo another']) await requester.send({ id, prompt });
    await free();
    await requester.result(id);
    await requester.ask('echo hello');
    assert.equal(resultsOf(id).length, 1);
    assert.deepEqual(
      requester.events(id).map(({ event }) => event),
      ['accepted', 'started'],
    );
  });

  test('[SLMD-ID-2] an id that is sent again after its result brings the same bytes once more', async () => {
    const { id } = await requester.ask('options');
    for (const request of [
      { id, prompt: 'options' },
      { id, prompt: 7 },
    ])
      await requester.send(request);
    const same = ({ topic }: { topic: string }) => topic === `slmd/kitchen/result/${id}`;
    await requester.heard.atLeast(3, same, 'three results of one id');
    assert.equal(new Set(resultsOf(id)).size, 1);
    assert.equal(requester.events(id).length, 2, 'it was computed once');
  });

  test('[SLMD-ID-2] an acknowledged result is forgotten, and its id is computed anew', async () => {
    const { id } = await requester.ask('echo first');
    await requester.ack(id);
    await requester.send({ id, prompt: 'echo second' });
    const second = ({ topic, payload }: { topic: string; payload: Buffer }) =>
      topic === `slmd/kitchen/result/${id}` && payload.includes('second');
    await requester.heard.find(second, 'a second answer');
  });

  test('[SLMD-ID-2] only so many results are remembered, the oldest go first', async () => {
    const ids = [];
    for (const i of [0, 1, 2, 3]) ids.push((await requester.ask(`echo number ${i}`)).id);
    const [oldest, , , newest] = ids as [string, string, string, string];
    const gone = ({ topic, payload }: Message) => topic.endsWith(`/${oldest}`) && payload.length === 0;
    await requester.heard.find(gone, 'the oldest is taken back');
    for (const id of [newest, oldest]) await requester.send({ id, prompt: 'echo again' });
    await requester.heard.find(
      ({ topic, payload }) => topic.endsWith(`/${oldest}`) && payload.includes('again'),
      'the oldest is computed anew',
    );
    assert.ok(resultsOf(newest).every((result) => result.includes('number 3')));
  });

  test('[SLMD-ID-3] a refusal is not remembered: the id may come again, mended', async () => {
    const id = 'mend-me';
    assert.equal((await requester.ask({ id, prompt: 'echo hi', tempature: 1 })).error?.code, 'unknown_field');
    const since = requester.heard.mark;
    await requester.send({ id, prompt: 'echo hi' });
    const { status, text } = await requester.result(id, { since });
    assert.deepEqual([status, text], ['ok', 'hi']);
  });

  test('[SLMD-ERR-2] a queue that is full refuses at once, and says when to come again', async () => {
    const { id, free } = await occupy();
    const waiting = [];
    for (const i of [0, 1, 2, 3]) waiting.push(await requester.send(`echo ${i}`));
    const { status, error, attempt } = await requester.ask('echo one too many');
    assert.deepEqual([status, error?.code, error?.retryable, attempt], ['rejected', 'queue_full', true, 0]);
    assert.ok((error?.retry_after_ms ?? 0) > 0);
    await free();
    const texts = await Promise.all(waiting.map(async (one) => (await requester.result(one)).text));
    assert.deepEqual(texts, ['0', '1', '2', '3'], 'those that wait are not harmed');
    await requester.result(id);
  });

  test('[SLMD-ERR-2] a queue that is full by bytes refuses what does not fit, and takes what does', async () => {
    const { free } = await occupy();
    const big = await requester.send(`echo ${'x'.repeat(1500)}`);
    assert.equal((await requester.ask(`echo ${'y'.repeat(1500)}`)).error?.code, 'queue_full');
    const small = await requester.send('echo small');
    await free();
    assert.equal((await requester.result(big)).status, 'ok');
    assert.equal((await requester.result(small)).status, 'ok');
  });

  test('[SLMD-REQ-4] the higher priority is served first, equal ones in their order', async () => {
    const { free } = await occupy();
    const since = requester.heard.mark;
    const ids: string[] = [];
    for (const priority of ['low', 'normal', 'high', 'normal'])
      ids.push(await requester.send({ prompt: `echo ${priority}`, priority }));
    await free();
    await Promise.all(ids.map((id) => requester.result(id)));
    assert.deepEqual(startsSince(since, ids), [2, 1, 3, 0]);
  });

  test('[SLMD-ADM-2] requesters of one priority take turns', async () => {
    const { free } = await occupy();
    const since = requester.heard.mark;
    const ids: string[] = [];
    for (const user of ['a', 'a', 'a', 'b']) ids.push(await requester.send({ prompt: 'echo hi', user }));
    await free();
    await Promise.all(ids.map((id) => requester.result(id)));
    assert.deepEqual(startsSince(since, ids), [0, 3, 1, 2]);
  });

  test('[SLMD-REQ-5] [SLMD-REQ-6] [SLMD-RES-2] a refusal comes as a result that says why', async () => {
    const expectations: [string | Buffer, string][] = [
      ['{', 'invalid_request'],
      ['', 'invalid_request'],
      [Buffer.from([0xff, 0xfe]), 'invalid_request'],
      ['{"prompt":"hi","frequency_penalty":1}', 'unknown_field'],
      [
        '{"prompt":"hi","response_format":{"type":"json_schema","json_schema":{"schema":{"not":{}}}}}',
        'schema_unsupported',
      ],
      ['x'.repeat(4097), 'payload_too_large'],
    ];
    for (const [payload, code] of expectations) {
      const { status, error, text, attempt } = await requester.askRaw(payload);
      assert.deepEqual([status, error?.code, text, attempt], ['rejected', code, '', 0]);
    }
  });
});
