import { readFileSync } from 'node:fs';

export interface ConnectionOptions {
  /** mqtt://, mqtts://, ws:// or wss:// */
  url: string;
  client_id: string;
  username: string | null;
  password: string | null;
  ca_file: string | null;
  cert_file: string | null;
  key_file: string | null;
  keepalive_s: number;
  connect_timeout_ms: number;
  /** 0 starts a clean session; else how long the broker keeps it (MQTT 5; for ever in 3.1.1). */
  session_expiry_s: number;
  /** QoS 1 messages the broker may have under way to us (MQTT 5). */
  receive_maximum: number;
  /** The largest packet the broker may send us (MQTT 5). */
  packet_bytes_max: number;
  will: { topic: string; payload: string; delay_s: number } | null;
}

/** How the broker is reached and what it is shown: the same for whoever connects to it. */
export type BrokerAccess = Pick<
  ConnectionOptions,
  | 'url'
  | 'username'
  | 'password'
  | 'ca_file'
  | 'cert_file'
  | 'key_file'
  | 'keepalive_s'
  | 'connect_timeout_ms'
>;

/** Takes these settings out of whatever holds them, and nothing else. */
export function brokerAccess(settings: BrokerAccess): BrokerAccess {
  const { url, username, password, ca_file, cert_file, key_file, keepalive_s, connect_timeout_ms } = settings;
  return { url, username, password, ca_file, cert_file, key_file, keepalive_s, connect_timeout_ms };
}

/** An address as MQTT.js takes it. */
export interface Address {
  protocol: 'mqtt' | 'mqtts' | 'ws' | 'wss';
  host: string;
  port?: number;
  path: string;
}

export interface TlsOptions {
  rejectUnauthorized?: boolean;
  ca?: Buffer;
  cert?: Buffer;
  key?: Buffer;
}

/** Taken apart here: MQTT.js does it with a parser that Node warns about at every start. */
export function address(url: string): Address {
  const { protocol, hostname, port, pathname, search } = new URL(url);
  return {
    protocol: protocol.slice(0, -1) as Address['protocol'],
    // An IPv6 address stands in brackets in a URL, and nowhere else.
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    ...(port === '' ? {} : { port: Number(port) }),
    path: `${pathname === '' ? '/' : pathname}${search}`,
  };
}

/** What TLS needs, read from its files; nothing where the address does not ask for TLS. @throws file system errors */
export function tlsOptions({ url, ca_file, cert_file, key_file }: BrokerAccess): TlsOptions {
  if (!/^(mqtts|wss|ssl|tls):/.test(url)) return {};
  return {
    rejectUnauthorized: true,
    ...(ca_file === null ? {} : { ca: readFileSync(ca_file) }),
    ...(cert_file === null ? {} : { cert: readFileSync(cert_file) }),
    ...(key_file === null ? {} : { key: readFileSync(key_file) }),
  };
}
