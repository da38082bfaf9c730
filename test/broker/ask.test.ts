import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { startCommand } from '../support/command.ts';
import { mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

/** A device with the fake engine, and `slmd ask` at its broker. */
async function asking(t: TestContext) {
  const stage = new Stage(t);
  const { url } = stage.add(await startEmbeddedBroker());
  const requester = await stage.requester({ url, version: 4 });
  stage.daemon({ url });
  await requester.ready();
  const ask = (...args: string[]) => startCommand(['ask', ...args, '--url', url]).ran;
  return { ask, requester, url };
}

test('slmd ask finds the only device, prints its answer, and says on stderr where the time went', async (t) => {
  const { ask } = await asking(t);
  const { code, stdout, stderr } = await ask('echo good evening');
  assert.deepEqual([code, stdout], [0, 'good evening\n']);
  assert.match(stderr, /TTFT .* tokens\/s/);
});

test('slmd ask leaves no result behind on the broker', async (t) => {
  const { ask, requester } = await asking(t);
  assert.equal((await ask('echo private')).code, 0);
  const cleared = await requester.heard.find(
    ({ topic, payload }) => topic.includes('/result/') && payload.length === 0,
    'the result is taken back',
  );
  const shown = requester.heard.all.filter(({ topic }) => topic === cleared.topic);
  assert.equal(shown.length, 2);
});

test('slmd ask --json prints the result document, and with --stream every message before it', async (t) => {
  const { ask } = await asking(t);
  const plain = await ask('echo one two', '--json', '--device', 'kitchen');
  assert.equal(JSON.parse(plain.stdout).text, 'one two');
  assert.equal(plain.stderr, '');
  const streamed = (await ask('echo one two', '--json', '--stream')).stdout.trimEnd().split('\n');
  const documents = streamed.map(
    (line) => JSON.parse(line) as { event?: string; seq?: number; status?: string },
  );
  // Events are QoS 1 and pieces are QoS 0: a broker may let these overtake those.
  assert.deepEqual(
    documents.flatMap(({ event }) => event ?? []),
    ['accepted', 'started'],
  );
  assert.equal(documents.at(-1)?.status, 'ok');
});

test('slmd ask --stream prints the whole answer once, also where the engine died and began again', async (t) => {
  const { ask } = await asking(t);
  const { code, stdout } = await ask(`crash once ${join(temporaryDir(t), 'died')}`, '--stream', '--quiet');
  assert.equal(code, 0);
  assert.equal(stdout.trimEnd().split('\n').at(-1), 'survived');
});

test('slmd ask ends with 6 and the code where the device answers with an error', async (t) => {
  const { ask } = await asking(t);
  const { code, stdout, stderr } = await ask('fail');
  assert.deepEqual([code, stdout], [6, '']);
  assert.match(stderr, /engine_failed/);
});

test('slmd ask ends with 5 where no answer came in time, and the device has cancelled the prompt', async (t) => {
  const { ask, requester } = await asking(t);
  const { code } = await ask('slow 2000', '--timeout', '1');
  assert.equal(code, 5);
  const { counters } = await requester.telemetry(
    ({ counters: { results } }) => results.expired + results.cancelled > 0,
  );
  assert.equal(counters.results.ok, 0);
});

test('slmd ask ends with 130 on Ctrl-C, and the device has cancelled the prompt', async (t) => {
  const { requester, url } = await asking(t);
  const { child, ran } = startCommand(['ask', 'slow 2000', '--stream', '--quiet', '--url', url]);
  await requester.telemetry(({ queue }) => queue.running === 1);
  child.kill('SIGINT');
  assert.equal((await ran).code, 130);
  await requester.telemetry(({ counters }) => counters.results.cancelled === 1);
});

test('slmd ask ends with 4 where nothing listens, and with 1 where no device is there', async (t) => {
  const stage = new Stage(t);
  const { url } = stage.add(await startEmbeddedBroker());
  const [away, empty] = await Promise.all([
    startCommand(['ask', 'hi', '--url', 'mqtt://127.0.0.1:1']).ran,
    startCommand(['ask', 'hi', '--url', url]).ran,
  ]);
  assert.equal(away.code, 4);
  assert.equal(empty.code, 1);
});

test('slmd ask ends with 4 at once where the ACL keeps it from asking', {
  skip: mosquittoMissing(),
}, async (t) => {
  const stage = new Stage(t);
  const { url } = stage.add(await startMosquitto({ acl: 'topic read slmd/#' }));
  const { code, stderr } = await startCommand(['ask', 'hi', '--device', 'kitchen', '--url', url]).ran;
  assert.equal(code, 4, stderr);
});

test('slmd ask of a device that nobody has heard of ends with 5, and names those that there are', async (t) => {
  const { ask } = await asking(t);
  const { code, stderr } = await ask('hi', '--device', 'cellar', '--timeout', '0.2');
  assert.equal(code, 5);
  assert.match(stderr, /cellar.* kitchen\n$/);
});

test('slmd ask --schema prints JSON that follows the file, and a file that is none is a usage error', async (t) => {
  const { ask } = await asking(t);
  const file = join(temporaryDir(t), 'schema.json');
  writeFileSync(file, '{"type":"object","properties":{"messages":{}}}');
  const { code, stdout } = await ask('options', '--schema', file, '--json');
  assert.equal(code, 0);
  const { json } = JSON.parse(stdout);
  assert.equal(json.response_format.type, 'json_schema');
  const any = await ask('options', '--json-object', '--json');
  assert.equal(JSON.parse(any.stdout).json.response_format.type, 'json_object');
  assert.equal((await ask('options', '--json-object', '--schema', file)).code, 2);
  writeFileSync(file, 'type: object');
  assert.equal((await ask('options', '--schema', file)).code, 2);
  writeFileSync(file, '{"type":"object","minProperties":1}');
  const refused = await ask('options', '--schema', file);
  assert.equal(refused.code, 6);
  assert.match(refused.stderr, /#\/minProperties/);
});
