import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { Stage } from '../support/stage.ts';

/** Words that nobody says by chance: one for each place that a requester fills. */
const canaries = {
  prompt: 'canary-prompt-5e1d',
  answer: 'canary-answer-77b0',
  metadata: 'canary-metadata-c3a9',
  member: 'canary-member-40f2',
  value: 'canary-value-9d6e',
};
const anyCanary = /canary-\w+-\w{4}/;

onEachBroker('what people say', (kind) => {
  test('[SLMD-TEL-3] is in no log line at any level, and in no telemetry, info or status', async (t) => {
    const stage = new Stage(t);
    const broker = stage.add(await kind.start());
    const requester = await stage.requester({ url: broker.url, version: kind.version });
    const settings = { mqtt: { protocol: kind.protocol }, engine: { attempts_max: 1 } };
    const daemon = stage.add(startDaemonProcess({ url: broker.url, settings }));
    await requester.ready();

    const { prompt, answer, metadata, member, value } = canaries;
    const id = 'id-for-the-log';
    const echoed = await requester.ask({ id, prompt: `echo ${answer}`, metadata: { [metadata]: metadata } });
    assert.equal(echoed.text, answer);
    for (const request of [
      {
        messages: [
          { role: 'system', content: prompt },
          { role: 'user', content: `fail ${prompt}` },
        ],
      },
      { prompt: `crash exit ${prompt}` },
      { prompt: `garbage ${prompt}`, stop: value },
      { prompt, [member]: value },
      { prompt, seed: value },
      { prompt, deadline_ms: 1, metadata: { metadata } },
      { prompt: `long 3000 ${prompt}`, max_tokens: 4096 },
    ])
      await requester.ask(request);
    await requester.askRaw(`{"prompt": "${prompt}`);
    await requester.askRaw(Buffer.concat([Buffer.from(prompt), Buffer.from([0xff])]));
    for (const topic of ['cancel', 'ack'])
      await requester.publish(`slmd/kitchen/${topic}`, `{"id": "${value}`);
    const cut = await requester.send(`slow 3000 ${prompt}`);
    await requester.event(cut, 'started');
    await requester.cancel(cut);
    await requester.result(cut);
    await requester.telemetry(({ counters }) => counters.results.cancelled === 1);
    assert.equal(await daemon.kill('SIGTERM'), 0);

    const lines = daemon.log.all.map(({ text }) => text);
    assert.ok(lines.length > 10 && lines.every((line) => line.startsWith('{')));
    assert.ok(
      lines.some((line) => line.includes(id)),
      'ids are in the log',
    );
    assert.deepEqual(
      lines.filter((line) => anyCanary.test(line)),
      [],
    );
    const documents = requester.heard.all.filter(({ topic }) =>
      /^slmd\/kitchen\/(status|info|telemetry)$|^homeassistant/.test(topic),
    );
    assert.ok(documents.length > 3);
    for (const { topic, payload } of documents) {
      assert.doesNotMatch(payload.toString(), anyCanary, topic);
      assert.ok(!payload.includes(id), `${topic} has no request id`);
    }
  });
});
