import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ConfigError, type LoadedConfig, loadConfig } from '../../src/config/config.ts';
import { temporaryDir } from '../support/temporary.ts';

const profilesDir = join(import.meta.dirname, '..', '..', 'devices');
const x64 = { model: null, arch: 'x64' };

interface Given {
  file?: string;
  env?: NodeJS.ProcessEnv;
  profile?: string;
}

/** Loads from a directory of its own, which also holds the one profile `board`. */
function load(context: TestContext, { file, env = {}, profile }: Given): LoadedConfig & { dir: string } {
  const dir = temporaryDir(context, {
    'profiles/board.yaml': `title: Board\nmatch: {}\nconfig: ${profile ?? '{}'}\n`,
    'slmd.yaml': file ?? '',
    password: 'from-a-file\n',
    empty: '\n',
  });
  const sources = { env, board: x64, profiles_dir: join(dir, 'profiles') };
  return { ...loadConfig({ ...sources, file: file === undefined ? null : join(dir, 'slmd.yaml') }), dir };
}

/** What is wrong, as `source path` lines; files are named without their directory. */
function problems(context: TestContext, given: Given): string[] {
  try {
    load(context, given);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.equal(error.code, 'config_invalid');
    return error.problems.map(({ source, path }) => `${source.split('/').at(-1)} ${path}`.trim());
  }
  return [];
}

test('without any source the defaults are in force, and the device has a valid name', (context) => {
  const { config, profile } = load(context, {});
  assert.equal(profile.name, 'board');
  assert.match(config.device, /^[a-z0-9][a-z0-9_-]{0,62}$/);
  assert.equal(config.topic_prefix, 'slmd');
  assert.equal(config.mqtt.url, 'mqtt://localhost:1883');
  assert.deepEqual([config.mqtt.username, config.mqtt.password], [null, null]);
  assert.deepEqual(config.mqtt.response_topics, [`slmd/${config.device}/response/#`]);
  assert.equal(config.generation.max_tokens, 512);
  assert.equal(config.limits.payload_bytes_max, 131_072);
});

test('the profile gives way to the file, and the file to the environment, setting by setting', (context) => {
  const { config, profile } = load(context, {
    profile: '{ engine: { threads: 1, stall_ms: 1001, attempts_max: 1 } }',
    file: 'engine: { threads: 2, stall_ms: 2002 }',
    env: { SLMD_ENGINE_THREADS: '3' },
  });
  const { threads, stall_ms, attempts_max } = config.engine;
  assert.deepEqual([threads, stall_ms, attempts_max], [3, 2002, 1]);
  assert.deepEqual(profile.settings, { 'engine.attempts_max': 1 });
});

test('a list of a later source replaces the earlier one whole', (context) => {
  const file = 'mqtt: { response_topics: [a/#, b/#] }';
  assert.deepEqual(load(context, { file }).config.mqtt.response_topics, ['a/#', 'b/#']);
  const env = { SLMD_MQTT_RESPONSE_TOPICS: '[c/#]' };
  assert.deepEqual(load(context, { file, env }).config.mqtt.response_topics, ['c/#']);
});

test('every problem of every source is reported at once, with its source and its path', (context) => {
  const found = problems(context, {
    profile: '{ limits: { queue_depth_max: 0 }, log: { colour: red } }',
    file: 'mqtt: { url: "http://x", keepalive_s: soon }\ngeneration: { temprature: 1 }\nnonsense: 1\n',
    env: { SLMD_ENGINE_THREADS: '-1', SLMD_ENGINE_THREDS: '2', SLMD_MQTT_RESPONSE_TOPICS: '[a/#/b]' },
  });
  assert.deepEqual(found.sort(), [
    'SLMD_ENGINE_THREADS engine.threads',
    'SLMD_ENGINE_THREDS',
    'SLMD_MQTT_RESPONSE_TOPICS mqtt.response_topics.0',
    'device profile limits.queue_depth_max',
    'device profile log.colour',
    'slmd.yaml generation.temprature',
    'slmd.yaml mqtt.keepalive_s',
    'slmd.yaml mqtt.url',
    'slmd.yaml nonsense',
  ]);
});

test('a variable that has not the prefix SLMD_, and SLMD_CONFIG, are none of the settings', (context) => {
  assert.deepEqual(problems(context, { env: { HOME: '/', SLMDX: '1', SLMD_CONFIG: '/x' } }), []);
});

test('a setting that is a text stays the text it is, whatever it looks like', (context) => {
  const env = { SLMD_MQTT_PASSWORD: '1234', SLMD_MQTT_USERNAME: 'null', SLMD_DEVICE: '007' };
  const { config } = load(context, { env: { ...env, SLMD_MQTT_PROTOCOL: '5.0', SLMD_LOG_LEVEL: 'warn' } });
  assert.deepEqual([config.mqtt.password, config.mqtt.username, config.device], ['1234', 'null', '007']);
  assert.deepEqual([config.mqtt.protocol, config.log.level], ['5.0', 'warn']);
});

test('numbers, booleans, null and lists are written in a variable as in the file', (context) => {
  const env = {
    SLMD_GENERATION_TEMPERATURE: '0.5',
    SLMD_GENERATION_STREAM: 'false',
    SLMD_GENERATION_MAX_TOKENS: 'null',
    SLMD_MQTT_RESPONSE_TOPICS: '[a/+, b/#]',
  };
  const { generation, mqtt } = load(context, { env }).config;
  assert.deepEqual([generation.temperature, generation.stream, generation.max_tokens], [0.5, false, null]);
  assert.deepEqual(mqtt.response_topics, ['a/+', 'b/#']);
});

test('a relative path in the file is meant from where the file is, an absolute one as it stands', (context) => {
  const file =
    'mqtt: { ca_file: password, cert_file: /dev/null, key_file: ./password }\nmodel: { dir: models/m }';
  const { config, dir } = load(context, { file });
  assert.equal(config.mqtt.ca_file, join(dir, 'password'));
  assert.equal(config.mqtt.cert_file, '/dev/null');
  assert.equal(config.mqtt.key_file, join(dir, 'password'));
  assert.equal(config.model.dir, join(dir, 'models', 'm'));
  assert.deepEqual(problems(context, { file: 'mqtt: { ca_file: "" }' }), ['slmd.yaml mqtt.ca_file']);
});

test('a file for TLS that cannot be read is a problem before anything is tried', (context) => {
  const file = 'mqtt: { ca_file: nowhere, cert_file: password, key_file: nowhere }';
  assert.deepEqual(
    problems(context, { file }).map((line) => line.split(' ')[1]),
    ['mqtt.ca_file', 'mqtt.key_file'],
  );
});

test('password_file is read without its last line break, and the user is then the device', (context) => {
  const { config } = load(context, { file: 'device: kitchen\nmqtt: { password_file: password }' });
  assert.deepEqual([config.mqtt.password, config.mqtt.username], ['from-a-file', 'kitchen']);
});

test('credentials that the service manager hands over are used without a line in the file', (context) => {
  const dir = temporaryDir(context, {
    'slmd_mqtt-password': 'secret\n',
    'slmd_ca.pem': 'ca',
    'slmd_cert.pem': 'cert',
    'slmd_key.pem': 'key',
  });
  const env = { CREDENTIALS_DIRECTORY: dir };
  const { mqtt } = load(context, { env, file: 'device: kitchen' }).config;
  assert.deepEqual(
    [mqtt.username, mqtt.password, mqtt.ca_file, mqtt.cert_file, mqtt.key_file],
    ['kitchen', 'secret', ...['ca', 'cert', 'key'].map((name) => join(dir, `slmd_${name}.pem`))],
  );
  const named = load(context, { env, file: 'mqtt: { password_file: password }' }).config.mqtt;
  assert.equal(named.password, 'from-a-file');
  assert.equal(load(context, { env: { CREDENTIALS_DIRECTORY: `${dir}-none` } }).config.mqtt.password, null);
});

test('a certificate that is handed over without its key is a problem of the credentials', (context) => {
  const env = { CREDENTIALS_DIRECTORY: temporaryDir(context, { 'slmd_cert.pem': 'cert' }) };
  assert.deepEqual(problems(context, { env }), ['credentials mqtt.cert_file']);
});

test('a password_file that is not there or is empty is a problem', (context) => {
  for (const name of ['nowhere', 'empty'])
    assert.deepEqual(
      problems(context, { file: `mqtt: { password_file: ${name} }` }).map((line) => line.split(' ')[1]),
      ['mqtt.password_file'],
    );
});

test('a password in a file that everybody may read is allowed', (context) => {
  const dir = temporaryDir(context, { 'slmd.yaml': 'mqtt: { password: secret }' });
  const file = join(dir, 'slmd.yaml');
  chmodSync(file, 0o644);
  const { config } = loadConfig({ file, env: {}, board: x64, profiles_dir: profilesDir });
  assert.equal(config.mqtt.password, 'secret');
});

test('a configuration is frozen to its leaves', (context) => {
  const { config } = load(context, { file: 'mqtt: { response_topics: [a] }' });
  const frozen = (value: unknown): boolean =>
    typeof value !== 'object' ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(frozen));
  assert.ok(frozen(config));
});

test('a file that is missing, is a directory, is no YAML or is no mapping is one problem', (context) => {
  for (const file of ['- a\n- b', 'text', 'a: [', 'a: 1\na: 2', 'a: *nowhere'])
    assert.deepEqual(problems(context, { file }), ['slmd.yaml'], file);
  const dir = temporaryDir(context);
  for (const file of [dir, join(dir, 'nowhere.yaml')])
    assert.throws(() => loadConfig({ file, env: {}, board: x64, profiles_dir: profilesDir }), {
      code: 'config_invalid',
    });
});

test('a file or a section that is empty says nothing', (context) => {
  for (const file of ['', '# nothing\n', 'mqtt:\n  # url: x\nengine: {}\n'])
    assert.deepEqual(problems(context, { file }), [], file);
});

test('a section that is no mapping is a problem of the section', (context) => {
  for (const value of ['5', 'text', '[]', 'true'])
    assert.deepEqual(problems(context, { file: `limits: ${value}` }), ['slmd.yaml limits'], value);
});

test('settings that contradict each other are a problem of the setting that gives way', (context) => {
  const wrong: [string, string][] = [
    ['mqtt: { reconnect_min_ms: 500, reconnect_max_ms: 499 }', 'slmd.yaml mqtt.reconnect_max_ms'],
    ['mqtt: { reconnect_min_ms: 60001 }', 'default mqtt.reconnect_max_ms'],
    ['engine: { restart_min_ms: 500, restart_max_ms: 499 }', 'slmd.yaml engine.restart_max_ms'],
    ['limits: { payload_bytes_max: 2048, queue_bytes_max: 2047 }', 'slmd.yaml limits.queue_bytes_max'],
    ['mqtt: { cert_file: c.pem }', 'slmd.yaml mqtt.cert_file'],
    ['mqtt: { key_file: k.pem }', 'slmd.yaml mqtt.key_file'],
  ];
  for (const [file, problem] of wrong) assert.deepEqual(problems(context, { file }), [problem], file);
  const right = [
    'mqtt: { reconnect_min_ms: 500, reconnect_max_ms: 500, cert_file: password, key_file: password }',
    'engine: { restart_min_ms: 500, restart_max_ms: 500 }',
    'limits: { payload_bytes_max: 2048, queue_bytes_max: 2048 }',
  ];
  assert.deepEqual(problems(context, { file: right.join('\n') }), []);
});

test('a contradiction is reported beside the other problems of its section', (context) => {
  const file = 'mqtt: { keepalive_s: soon, reconnect_min_ms: 500, reconnect_max_ms: 499 }';
  assert.deepEqual(problems(context, { file }), [
    'slmd.yaml mqtt.keepalive_s',
    'slmd.yaml mqtt.reconnect_max_ms',
  ]);
});

test('a broker address has a known scheme, a host and no password', (context) => {
  const taken = (url: string) => problems(context, { env: { SLMD_MQTT_URL: url } }).length === 0;
  for (const url of ['mqtt://h', 'mqtts://h:8883', 'ws://h/mqtt', 'wss://h', 'mqtt://[::1]:1883'])
    assert.ok(taken(url), url);
  for (const url of ['', 'h', 'tcp://h', 'mqtt://', 'mqtt://user:secret@h', 'mqtt://h h'])
    assert.ok(!taken(url), url);
});

test('a name that would reach into other topics is no device and no prefix', (context) => {
  for (const device of ['', 'Kitchen', 'a/b', '+', '#', '-a', 'a b', 'x'.repeat(64)])
    assert.deepEqual(problems(context, { env: { SLMD_DEVICE: device } }), ['SLMD_DEVICE device'], device);
  for (const prefix of ['', '/a', 'a/', 'a//b', 'a/+', '#', '$share'])
    assert.equal(problems(context, { env: { SLMD_TOPIC_PREFIX: prefix } }).length, 1, prefix);
  assert.deepEqual(problems(context, { env: { SLMD_TOPIC_PREFIX: 'home/slmd' } }), []);
});

test('a response topic is a topic filter with its wildcards in the right places', (context) => {
  const taken = (filter: string) =>
    problems(context, { file: `mqtt: { response_topics: [${JSON.stringify(filter)}] }` }).length === 0;
  for (const filter of ['a', '+', '#', 'a/#', '+/b/+', '/a', 'a//b']) assert.ok(taken(filter), filter);
  for (const filter of ['', 'a#', 'a/#/b', 'a+', '+a/b', '##', 'a\0b']) assert.ok(!taken(filter), filter);
});

test('the model store is beside the journal of a service, and with the data of a user', (context) => {
  const store = (env: NodeJS.ProcessEnv) => load(context, { env }).config.model.store;
  assert.equal(store({ STATE_DIRECTORY: '/var/lib/slmd' }), '/var/lib/slmd/models');
  assert.equal(store({ XDG_DATA_HOME: '/data' }), '/data/slmd/models');
  assert.match(store({}), /\/\.local\/share\/slmd\/models$/);
  assert.equal(store({ SLMD_MODEL_STORE: '/x', STATE_DIRECTORY: '/var/lib/slmd' }), '/x');
});

test('with a key, signatures are asked for; whether one must be there is a setting', (context) => {
  const { publicKey } = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  const dir = temporaryDir(context, {
    good: pem,
    rsa: rsa.export({ type: 'spki', format: 'pem' }).toString(),
    empty: '',
  });
  const env = (name: string, more = {}) => ({ SLMD_MODEL_PUBLIC_KEY_FILE: join(dir, name), ...more });
  const trust = (more = {}) => load(context, { env: env('good', more) }).config.model.trust;
  assert.equal(load(context, {}).config.model.trust, null);
  assert.deepEqual(trust(), { public_keys: pem, required: true });
  assert.deepEqual(trust({ SLMD_MODEL_REQUIRE_SIGNATURE: 'false' }), { public_keys: pem, required: false });
  for (const name of ['rsa', 'empty', 'nowhere'])
    assert.deepEqual(problems(context, { env: env(name) }), [`${name} model.public_key_file`]);
  assert.deepEqual(problems(context, { env: { SLMD_MODEL_REQUIRE_SIGNATURE: 'true' } }), [
    'SLMD_MODEL_REQUIRE_SIGNATURE model.require_signature',
  ]);
});
