import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEnvironment, type Settings, variableOf } from '../../src/config/environment.ts';
import { configSchema } from '../../src/config/schema.ts';

/** The paths of every leaf, from the defaults: a section is an object there, and nothing else is. */
function leafPaths(settings: object, path: string[] = []): string[][] {
  return Object.entries(settings).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? leafPaths(value, [...path, name])
      : [[...path, name]],
  );
}

const leaves = leafPaths(configSchema.parse({}));

function valueAt(settings: Settings, path: string[]): unknown {
  return path.reduce<unknown>((at, name) => (at as Settings)[name], settings);
}

test('every setting has a variable of its own, and the variable sets that and nothing else', () => {
  assert.ok(leaves.length > 40);
  assert.equal(new Set(leaves.map(variableOf)).size, leaves.length);
  for (const path of leaves) {
    const { settings, problems } = readEnvironment({ [variableOf(path)]: 'given' });
    assert.deepEqual(problems, []);
    assert.equal(valueAt(settings, path), 'given', path.join('.'));
    assert.deepEqual(leafPaths(settings), [path]);
  }
});

test('variables of several sections meet in one mapping', () => {
  const env = { SLMD_MQTT_URL: 'mqtt://h', SLMD_MQTT_USERNAME: 'u', SLMD_ENGINE_THREADS: '2' };
  assert.deepEqual(readEnvironment(env).settings, {
    mqtt: { url: 'mqtt://h', username: 'u' },
    engine: { threads: 2 },
  });
});

test('a variable that names no setting is a problem of that variable', () => {
  const env = { SLMD_MQTT: '{}', SLMD_mqtt_url: 'x', SLMD_MQTT_URL_: 'x', SLMD_: '' };
  const { settings, problems } = readEnvironment(env);
  assert.deepEqual(settings, {});
  assert.deepEqual(problems.map(({ source }) => source).sort(), Object.keys(env).sort());
});

test('a value that is no YAML stays a text, for the schema to refuse', () => {
  assert.deepEqual(readEnvironment({ SLMD_ENGINE_THREADS: '[2' }).settings, { engine: { threads: '[2' } });
});
