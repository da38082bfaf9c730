import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { engineEntry, shippedModel } from '../../src/lib/package-root.ts';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { fakeEngine, startDaemonProcess } from '../support/daemon.ts';
import { Stage } from '../support/stage.ts';
import { contacts, straceMissing, tracing } from '../support/strace.ts';

/** Engines that are watched; one whose model or runtime calls home is found here. */
const engines = [
  { name: 'the fake engine', entry: fakeEngine, model_dir: 'a-model', prompts: ['echo hello', 'crash'] },
  {
    name: 'the engine',
    entry: engineEntry(),
    model_dir: shippedModel(),
    prompts: ['turn off the kitchen light'],
  },
];

/** glibc asks its name service cache over a local socket, where there is one. */
const allowed = [/^unix .*\/nscd\/socket$/];

for (const { name, entry, model_dir, prompts } of engines)
  test(`nobody but the broker is ever contacted, by the daemon or by ${name}`, {
    skip: straceMissing(),
  }, async (t) => {
    const stage = new Stage(t);
    const dir = mkdtempSync(join(tmpdir(), 'slmd-strace-'));
    stage.add({ stop: async () => rmSync(dir, { recursive: true }) });
    const broker = stage.add(await startEmbeddedBroker());
    const requester = await stage.requester({ url: broker.url, version: 4 });
    const trace = join(dir, 'trace');
    const options = { url: broker.url, engine_entry: entry, model_dir };
    const daemon = stage.add(startDaemonProcess(options, tracing(trace)));
    await requester.ready();
    const [first, ...others] = prompts.map((prompt) => requester.ask(prompt));
    assert.equal((await first)?.status, 'ok');
    await Promise.all(others);
    await requester.telemetry(({ counters }) => counters.received === prompts.length);
    assert.equal(await daemon.kill('SIGTERM'), 0);

    const contacted = await contacts(trace, daemon.pid);
    const toBroker = `inet 127.0.0.1:${broker.port}`;
    assert.ok(contacted.includes(toBroker), 'the trace sees connections');
    const strangers = contacted.filter((one) => one !== toBroker && !allowed.some((form) => form.test(one)));
    assert.deepEqual(strangers, []);
  });
