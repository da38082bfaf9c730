import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { onEachBroker } from '../support/brokers.ts';
import { startDaemonProcess } from '../support/daemon.ts';
import { journalFile } from '../support/journal.ts';
import { childrenOf, shownBy } from '../support/processes.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

/** Words that nobody says by chance: one for each place that a requester fills. */
const canaries = {
  prompt: 'canary-prompt-5e1d',
  answer: 'canary-answer-77b0',
  metadata: 'canary-metadata-c3a9',
  member: 'canary-member-40f2',
  value: 'canary-value-9d6e',
  user: 'canary-user-2b18',
};
const anyCanary = /canary-\w+-\w{4}/;

onEachBroker('what people say', (kind) => {
  test('[SLMD-TEL-3] is in no log line at any level, no telemetry, info or status, no name of a file, and in nothing that a process shows', async (t) => {
    const stage = new Stage(t);
    const { broker, requester } = await stage.broker(kind);
    const settings = { mqtt: { protocol: kind.protocol }, engine: { attempts_max: 1 } };
    const journal_dir = temporaryDir(t);
    const daemon = stage.add(startDaemonProcess({ url: broker.url, settings, journal_dir }));
    await requester.ready();

    const { prompt, answer, metadata, member, value, user } = canaries;
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
      { prompt: `blurt ${prompt}` },
      { prompt: `garbage ${prompt}`, stop: value },
      { prompt, [member]: value },
      { prompt, seed: value },
      { prompt, user },
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
    const shown = [daemon.pid, ...childrenOf(daemon.pid)].map(shownBy);
    await requester.cancel(cut);
    await requester.result(cut);
    await requester.telemetry(({ counters }) => counters.results.cancelled === 1);
    const names = readdirSync(journal_dir, { recursive: true }).map(String);
    assert.equal(await daemon.kill('SIGTERM'), 0);

    assert.equal(shown.length, 2, 'the daemon and the engine');
    assert.ok(
      shown[0]?.includes(journal_dir) && shown[1]?.includes('fake-engine'),
      'what they show was read',
    );
    for (const text of shown) assert.doesNotMatch(text, anyCanary);
    assert.match(readFileSync(journalFile(journal_dir), 'utf8'), anyCanary, 'the journal has it inside');
    assert.ok(names.length >= 2);
    for (const name of names) assert.doesNotMatch(name, /canary|id-for-the-log/);

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
