import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Mosquitto, startMosquitto } from './mosquitto.ts';
import { systemdDir } from './unit-file.ts';

const example = join(systemdDir, 'mosquitto');

/** Makes, with the example's script, an authority, the certificate of a broker and one for each name. */
export function makeCertificates(dir: string, brokerHost: string, names: readonly string[]): void {
  const script = join(example, 'certificates.sh');
  const { status, stderr } = spawnSync(script, [dir, brokerHost, ...names], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  copyFileSync(join(example, 'acl'), join(dir, 'acl'));
}

/** What a client with one of these certificates connects with. */
export function certificate(dir: string, name: string): { ca: Buffer; cert: Buffer; key: Buffer } {
  return {
    ca: readFileSync(join(dir, 'ca.pem')),
    cert: readFileSync(join(dir, `${name}.pem`)),
    key: readFileSync(join(dir, `${name}.key`)),
  };
}

/** The broker as `systemd/mosquitto/` describes it, on a free loopback port and with its files elsewhere. */
export function startExampleBroker(certificates: string): Promise<Mosquitto> {
  return startMosquitto({
    whole: (port, state) =>
      readFileSync(join(example, 'mosquitto.conf'), 'utf8')
        .replace('listener 8883', `listener ${port} 127.0.0.1\nlog_dest file ${state}/log`)
        .replaceAll('/etc/mosquitto/slmd/', `${certificates}/`)
        .replace('/var/lib/mosquitto/', `${state}/`),
  });
}
