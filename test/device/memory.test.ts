import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfiguration } from '../../src/cli/configuration.ts';
import { connectRequester } from '../../src/cli/requester.ts';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { Device } from '../soak/device.ts';
import { rssBytesOf } from '../support/processes.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';
import { patienceMs, until } from '../support/wait.ts';

/** On x86-64 the daemon has 43 MB then and the engine 37, and 47 and 68 when they have answered; before, each had more than 100. */
const quietBytesMax = 75e6;
const answeredBytesMax = 90e6;

test('once a service has started, daemon and engine hold what their work needs, and answer with that', async (t) => {
  const stage = new Stage(t);
  // systemd's; nobody listens there.
  process.env.NOTIFY_SOCKET = '/nowhere/notify';
  const broker = stage.add(await startEmbeddedBroker());
  const settings = { device: 'small', engine: { threads: 1 } };
  const device = stage.add(new Device({ url: broker.url, journal_dir: temporaryDir(t), settings }));
  device.start();
  const { config } = readConfiguration(null, { SLMD_MQTT_URL: broker.url });
  const requester = await connectRequester(config);
  stage.add({ stop: () => requester.close() });
  await requester.ready('small', AbortSignal.timeout(patienceMs));
  const pids = [device.pid, await device.enginePid()];
  const within = (bytesMax: number) => pids.every((pid) => (rssBytesOf(pid) ?? Number.NaN) <= bytesMax);
  await until(() => within(quietBytesMax) || undefined, 'what the start needed is given back');
  for (const id of ['a', 'b', 'c']) {
    const asked = { id, prompt: 'Could you dim the bedroom lamp to 30 percent?' };
    const { status } = await requester.ask('small', asked, {}, AbortSignal.timeout(patienceMs));
    assert.equal(status, 'ok');
  }
  assert.ok(within(answeredBytesMax), `${pids.map(rssBytesOf)}`);
});
