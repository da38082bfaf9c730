import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { neededAddresses, resolversOf } from '../../src/cli/egress.ts';
import { temporaryDir } from '../support/temporary.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const names: Record<string, string[]> = {
  'broker.local': ['192.0.2.7', '2001:db8::7', '192.0.2.7'],
  localhost: ['127.0.0.1', '::1'],
};
const resolve = async (name: string) => names[name] ?? Promise.reject(new Error('ENOTFOUND'));
const needed = (url: string | string[], resolvers: string[] = ['192.0.2.53', '127.0.0.53']) =>
  neededAddresses([url].flat(), resolvers, resolve);

test('a broker that is an address needs that address and no resolver', async () => {
  assert.deepEqual(await needed('mqtt://192.0.2.1:1883'), { addresses: ['192.0.2.1'], unresolved: null });
  assert.deepEqual((await needed('mqtts://[2001:db8::1]')).addresses, ['2001:db8::1']);
  assert.deepEqual((await needed('mqtt://127.0.0.1')).addresses, []);
});

test('a broker that has a name needs where it leads and who resolves it, loopback and doubles left out', async () => {
  const { addresses } = await needed('mqtts://broker.local');
  assert.deepEqual(addresses, ['192.0.2.7', '2001:db8::7', '192.0.2.53']);
  assert.deepEqual((await needed('ws://localhost/mqtt', [])).addresses, []);
});

test('a name that leads nowhere is said, and its resolvers are needed all the same', async () => {
  const found = await needed('mqtt://elsewhere');
  assert.deepEqual(found, { addresses: ['192.0.2.53'], unresolved: 'elsewhere' });
});

test('a broker of several nodes needs them all, and says the first name that leads nowhere', async () => {
  const found = await needed(['mqtt://192.0.2.1', 'mqtt://elsewhere', 'mqtt://broker.local']);
  assert.deepEqual(found, {
    addresses: ['192.0.2.1', '192.0.2.53', '192.0.2.7', '2001:db8::7'],
    unresolved: 'elsewhere',
  });
});

test('resolv.conf is read as the resolver reads it', () => {
  const text =
    '# nameserver 192.0.2.9\nsearch local\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver x\n';
  assert.deepEqual(resolversOf(text), ['192.0.2.53', 'fe80::1']);
});

test('slmd egress --apply tells systemd the whole list, and fails where systemd does', (context) => {
  const dir = temporaryDir(context, {
    systemctl:
      '#!/bin/sh\nprintf "%s\\n" "$@" > "$(dirname "$0")/said"\nexit $(cat "$(dirname "$0")/code")\n',
    code: '0',
    broken: '',
  });
  chmodSync(join(dir, 'systemctl'), 0o755);
  const run = (PATH: string) =>
    spawnSync(process.execPath, [main, 'egress', '--apply'], {
      env: { PATH, SLMD_MQTT_URL: 'mqtt://192.0.2.7' },
      encoding: 'utf8',
    });
  assert.equal(run(`${dir}:${process.env.PATH}`).status, 0);
  const said = readFileSync(join(dir, 'said'), 'utf8').trim().split('\n');
  assert.deepEqual(said, [
    'set-property',
    '--runtime',
    'slmd.service',
    'IPAddressAllow=',
    'IPAddressAllow=127.0.0.0/8 ::1/128 192.0.2.7',
  ]);
  assert.equal(run(join(dir, 'nothing-here')).status, 1);
});
