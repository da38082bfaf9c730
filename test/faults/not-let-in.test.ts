import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { commandMissing, mosquittoMissing, startMosquitto } from '../support/mosquitto.ts';
import { Stage } from '../support/stage.ts';
import { temporaryDir } from '../support/temporary.ts';
import { systemdDir } from '../support/unit-file.ts';

const skip = mosquittoMissing() || commandMissing('openssl', ['version']);

/** A file that the broker or the device uses, replaced by one that is wrong. */
interface Wrong {
  what: string;
  files: [from: string, to: string][];
  says: RegExp;
}

// TLS is below MQTT: which version is spoken through it makes no difference.
const wrongs: Wrong[] = [
  {
    what: 'the certificate of the device has expired',
    files: [['good/expired.pem', 'device/cert.pem']],
    says: /"code":"tls".*EXPIRED/,
  },
  {
    what: 'the certificate of the device is of another authority',
    files: [
      ['other/kitchen.pem', 'device/cert.pem'],
      ['other/kitchen.key', 'device/key.pem'],
    ],
    says: /"code":"tls".*UNKNOWN_CA/,
  },
  {
    what: 'the device trusts another authority',
    files: [['other/ca.pem', 'device/ca.pem']],
    says: /"code":"tls".*(SELF_SIGNED|UNABLE_TO)/,
  },
  {
    what: 'the broker has another host’s certificate',
    files: [
      ['good/elsewhere.pem', 'broker/cert.pem'],
      ['good/elsewhere.key', 'broker/key.pem'],
    ],
    says: /"code":"tls".*ALTNAME/,
  },
];

describe('a device that its broker does not let in', { skip, concurrency: 2 }, () => {
  for (const { what, files, says } of wrongs)
    test(`[FAULT-12] says so where ${what}, tries on, and is ready once that is mended`, async (t) => {
      const dir = temporaryDir(t);
      const at = (path: string) => join(dir, path);
      const copy = (pairs: Wrong['files']) => {
        for (const [from, to] of pairs) copyFileSync(at(from), at(to));
      };
      certificates(dir);
      copy(right);
      copy(files);
      const stage = new Stage(t);
      const config = [
        `cafile ${at('good/ca.pem')}`,
        `certfile ${at('broker/cert.pem')}`,
        `keyfile ${at('broker/key.pem')}`,
        'require_certificate true',
      ].join('\n');
      const broker = stage.add(await startMosquitto({ config }));
      const url = `mqtts://localhost:${broker.port}`;
      const [ca_file, cert_file, key_file] = ['ca', 'cert', 'key'].map((name) => at(`device/${name}.pem`));
      const daemon = stage.daemon({
        url,
        settings: { mqtt: { ca_file: ca_file ?? '', cert_file: cert_file ?? '', key_file: key_file ?? '' } },
      });
      await daemon.log.atLeast(2, ({ text }) => says.test(text), 'it says so, again and again');
      const pauses = daemon.log.all.flatMap(({ text }) => /"retry_ms":(\d+)/.exec(text)?.[1] ?? []);
      assert.ok(
        pauses.every((ms) => Number(ms) > 0 && Number(ms) <= 200),
        `${pauses}`,
      );
      await broker.kill('SIGTERM');
      await daemon.log.find(({ text }) => text.includes('"code":"refused"'), 'nothing listens now');
      copy(right);
      await broker.start();
      await daemon.log.find(({ text }) => text.includes('"connected"'), 'it is let in');
    });
});

const right: Wrong['files'] = [
  ['good/broker.pem', 'broker/cert.pem'],
  ['good/broker.key', 'broker/key.pem'],
  ['good/ca.pem', 'device/ca.pem'],
  ['good/kitchen.pem', 'device/cert.pem'],
  ['good/kitchen.key', 'device/key.pem'],
];

/** Two authorities; the good one has also made a certificate that has expired, and one for another host. */
function certificates(dir: string): void {
  for (const name of ['device', 'broker']) mkdirSync(join(dir, name));
  const script = join(systemdDir, 'mosquitto', 'certificates.sh');
  run(script, join(dir, 'good'), 'elsewhere.example', 'kitchen');
  const good = join(dir, 'good');
  for (const kind of ['pem', 'key'])
    copyFileSync(join(good, `broker.${kind}`), join(good, `elsewhere.${kind}`));
  run(script, good, 'localhost', 'kitchen');
  run(script, join(dir, 'other'), 'localhost', 'kitchen');
  const csr = join(good, 'kitchen.csr');
  run('openssl', 'req', '-new', '-key', join(good, 'kitchen.key'), '-subj', '/CN=kitchen', '-out', csr);
  const authority = ['-CA', join(good, 'ca.pem'), '-CAkey', join(good, 'ca.key'), '-CAcreateserial'];
  const out = join(good, 'expired.pem');
  run('openssl', 'x509', '-req', '-in', csr, ...authority, '-days', '-1', '-out', out);
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}
