import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { loadConfig } from '../../src/config/config.ts';
import { brokerFindings } from '../../src/doctor/broker.ts';
import { startEmbeddedBroker } from '../../src/mqtt/embedded-broker.ts';
import { Board } from '../../src/telemetry/board.ts';
import { startCommand } from '../support/command.ts';
import { freePort, mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';

/** The last finding of the way to this broker: `broker.acl ok`, or where it ends. */
async function endOfWay(url: string, settings: Record<string, string> = {}): Promise<string> {
  const { config } = loadConfig({
    file: null,
    env: { SLMD_DEVICE: 'kitchen', SLMD_MQTT_URL: url, SLMD_MQTT_CONNECT_TIMEOUT_MS: '1000', ...settings },
    board: new Board().identity(),
    profiles_dir: join(import.meta.dirname, '..', '..', 'devices'),
  });
  const { check, level } = (await brokerFindings(config)).at(-1)!;
  return `${check} ${level}`;
}

test('the way to a broker ends where its name is unknown, where nothing listens, and where nobody speaks MQTT', async (t) => {
  assert.equal(await endOfWay('mqtt://no-such-host.invalid'), 'broker.dns problem');
  assert.equal(await endOfWay(`mqtt://127.0.0.1:${await freePort()}`), 'broker.tcp problem');
  const mute = createServer().listen(0, '127.0.0.1');
  t.after(() => mute.close());
  await once(mute, 'listening');
  const { port } = mute.address() as { port: number };
  assert.equal(await endOfWay(`mqtt://127.0.0.1:${port}`), 'broker.mqtt problem');
});

test('the way to a broker of MQTT 3.1.1 is walked to its end', async (t) => {
  const { url } = new Stage(t).add(await startEmbeddedBroker());
  assert.equal(await endOfWay(url), 'broker.acl ok');
});

test('the way to a broker ends at a wrong password, and at an ACL that drops in silence', {
  skip: mosquittoMissing(),
}, async (t) => {
  const acl = 'pattern read slmd/%u/#\npattern write slmd/%u/result/#\n';
  const { url } = new Stage(t).add(await startMosquitto({ passwords: { kitchen: 'right' }, acl }));
  const with_ = (password: string, protocol = 'auto') =>
    endOfWay(url, { SLMD_MQTT_PASSWORD: password, SLMD_MQTT_PROTOCOL: protocol });
  assert.equal(await with_('wrong'), 'broker.authentication problem');
  assert.equal(await with_('right'), 'broker.acl problem');
  assert.equal(await with_('right', '3.1.1'), 'broker.acl problem');
});

test('the way to a broker ends at TLS where the listener has none', {
  skip: mosquittoMissing(),
}, async (t) => {
  const { url } = new Stage(t).add(await startMosquitto());
  assert.match(await endOfWay(url.replace('mqtt:', 'mqtts:')), /^broker\.(tls|mqtt) problem$/);
});

/** `slmd doctor --json` as a user runs it. */
async function doctor(t: TestContext, url: string, settings: NodeJS.ProcessEnv = {}) {
  const env = {
    ...settings,
    SLMD_MQTT_URL: url,
    SLMD_DEVICE: 'kitchen',
    SLMD_JOURNAL_DIR: temporaryDir(t),
    SLMD_CONFIG: '/dev/null',
  };
  const { code, stdout } = await startCommand(['doctor', '--json'], env).ran;
  const findings = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { check: string; level: string; message: string });
  return { code, findings };
}

test('slmd doctor on a device that is well loads the model, walks to the broker, and ends with 0', async (t) => {
  const { url } = new Stage(t).add(await startEmbeddedBroker());
  const { code, findings } = await doctor(t, url);
  assert.equal(code, 0);
  const checks = findings.map(({ check }) => check);
  for (const check of [
    'board',
    'profile',
    'processor',
    'clock',
    'disk',
    'memory',
    'bandwidth',
    'model',
    'speed',
    'broker.acl',
  ])
    assert.ok(checks.includes(check), check);
  assert.ok(findings.every(({ level }) => level !== 'problem'));
});

test('slmd doctor warns of a model that is larger than the device profile advises, and names the setting', async (t) => {
  const { url } = new Stage(t).add(await startEmbeddedBroker());
  const { code, findings } = await doctor(t, url, { SLMD_MODEL_BYTES_MAX: '1000' });
  assert.equal(code, 0);
  const { level, message } = findings.find(({ check }) => check === 'model_size')!;
  assert.deepEqual([level, message.includes('model.bytes_max')], ['warning', true]);
});

test('slmd doctor without a broker says so last, and ends with 1', async (t) => {
  const { code, findings } = await doctor(t, `mqtt://127.0.0.1:${await freePort()}`);
  assert.equal(code, 1);
  assert.deepEqual(
    findings.filter(({ level }) => level === 'problem').map(({ check }) => check),
    ['broker.tcp'],
  );
});
