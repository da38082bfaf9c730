import { randomBytes } from 'node:crypto';
import type { Config } from '../config/schema.ts';
import { topicsOf } from '../contract/topics.ts';
import { Connection, type ProtocolVersion } from '../mqtt/client.ts';
import { brokerAccess } from '../mqtt/connection-options.ts';
import { Probe } from '../mqtt/probe.ts';
import { ConnectError, type Trouble, type TroubleCode } from '../mqtt/trouble.ts';
import { type Finding, ok, problem } from './finding.ts';

/** The way to a broker, step by step; each is only reached through the ones before. */
const steps = ['dns', 'tcp', 'tls', 'mqtt', 'authentication', 'acl'] as const;
type Step = (typeof steps)[number];

/** At which step each trouble ends the way. */
const stepOf: Record<TroubleCode, Step> = {
  dns: 'dns',
  refused: 'tcp',
  unreachable: 'tcp',
  timeout: 'tcp',
  silent: 'mqtt',
  tls: 'tls',
  protocol: 'mqtt',
  closed: 'mqtt',
  taken_over: 'mqtt',
  flooded: 'mqtt',
  packet: 'mqtt',
  unsuitable: 'mqtt',
  credentials: 'authentication',
  not_authorized: 'acl',
};

const passed: Record<Step, string> = {
  dns: 'the host name is known',
  tcp: 'something listens there',
  tls: 'TLS: the certificates are good',
  mqtt: 'it speaks MQTT',
  authentication: 'user name and password are accepted',
  acl: 'this device may publish and subscribe under its own name',
};

/**
 * Walks the way to the broker under a client id of its own, so that a daemon that runs is not disturbed.
 */
export async function brokerFindings(config: Config): Promise<Finding[]> {
  const { url } = config.mqtt;
  const trouble = await walk(config);
  if (trouble === null) return wayFindings(url, null);
  return wayFindings(url, { step: stepOf[trouble.code], message: trouble.message });
}

/** A finding for each step up to the one that failed; null where none did. */
export function wayFindings(url: string, failed: { step: Step; message: string } | null): Finding[] {
  const secure = /^(mqtts|wss):/.test(url);
  const way = steps.filter((step) => step !== 'tls' || secure);
  const end = failed === null ? way.length : way.indexOf(failed.step);
  const findings = way.slice(0, end).map((step) => ok(`broker.${step}`, `${url}: ${passed[step]}`));
  if (failed === null) return findings;
  const [line, fix] = failed.message.split(/: (?=[^:]*$)/);
  return [
    ...findings,
    problem(`broker.${failed.step}`, line ?? failed.message, fix ?? 'see the broker’s log'),
  ];
}

async function walk(config: Config): Promise<Trouble | null> {
  try {
    return await walkIn(config, config.mqtt.protocol === '3.1.1' ? 4 : 5);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    const mayBeOlder = error.trouble.code === 'protocol' || error.trouble.code === 'closed';
    if (!mayBeOlder || config.mqtt.protocol !== 'auto') return error.trouble;
  }
  return walkIn(config, 4).catch((error: unknown) => {
    if (error instanceof ConnectError) return error.trouble;
    throw error;
  });
}

/** @throws ConnectError where the connection cannot be made */
async function walkIn(config: Config, protocol: ProtocolVersion): Promise<Trouble | null> {
  const { probe: topic } = topicsOf(config.topic_prefix, config.device);
  const nonce = randomBytes(6).toString('hex');
  const probe = new Probe(topic, nonce);
  const connection = await Connection.open(
    {
      ...brokerAccess(config.mqtt),
      client_id: `slmd-doctor-${nonce}`,
      session_expiry_s: 0,
      receive_maximum: 16,
      packet_bytes_max: config.limits.payload_bytes_max,
      will: null,
    },
    protocol,
    {
      message: ({ payload }, acknowledge) => {
        probe.hear(payload);
        acknowledge();
      },
      dropped: () => undefined,
    },
    new AbortController().signal,
  );
  try {
    await connection.subscribe([topic]).catch(() => undefined); // The echo tells.
    const finding = await probe.run(connection);
    return finding === null ? null : { code: 'not_authorized', message: finding };
  } finally {
    await connection.close();
  }
}
