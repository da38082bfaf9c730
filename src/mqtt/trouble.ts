/** Why a broker could not be used, in a code that can be counted and a line that says what to do. */

export type TroubleCode =
  | 'dns'
  | 'refused'
  | 'unreachable'
  | 'timeout'
  | 'silent'
  | 'tls'
  | 'credentials'
  | 'not_authorized'
  | 'protocol'
  | 'closed'
  | 'taken_over'
  | 'flooded'
  | 'packet';

export interface Trouble {
  code: TroubleCode;
  message: string;
}

/** A connection attempt that failed. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
  readonly trouble: Trouble;

  constructor(trouble: Trouble, options?: ErrorOptions) {
    super(trouble.message, options);
    this.trouble = trouble;
  }
}

/**
 * Names the trouble behind an error of MQTT.js or of a Node socket.
 *
 * CONNACK codes are those of MQTT 3.1.1 §3.2.2.3 (1–5) and MQTT 5.0 §3.2.2.2 (128 and up).
 *
 * @param reached whether the network connection was there: MQTT.js has one limit for it and the CONNACK
 */
export function troubleOf(error: unknown, url: string, reached = true): Trouble {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'number') return connackTrouble(code, url);
  if (typeof code === 'string') return socketTrouble(code, String(message ?? code), url);
  const text = String(message ?? error);
  if (/connack timeout/i.test(text))
    return reached
      ? {
          code: 'silent',
          message: `${url} accepted the connection but did not answer: is it an MQTT listener?`,
        }
      : socketTrouble('ETIMEDOUT', text, url);
  if (/keepalive timeout/i.test(text))
    return { code: 'timeout', message: `${url} stopped answering keepalives` };
  return { code: 'closed', message: `${url} closed the connection: ${text}` };
}

/** What a broker says as it ends a connection (MQTT 5.0 §3.14.2.1). */
export function disconnectTrouble(code: number, url: string): Trouble {
  if (code === 142)
    return { code: 'taken_over', message: `${url} has given this client id to another connection` };
  return { code: 'closed', message: `${url} ended the connection with code ${code}` };
}

/** A broker that sends on and on, whatever has not been acknowledged. */
export function floodTrouble(url: string): Trouble {
  return {
    code: 'flooded',
    message: `${url} sends without waiting for acknowledgements: bound what it has under way to a client (MQTT 5: it ignores the receive maximum)`,
  };
}

function connackTrouble(code: number, url: string): Trouble {
  if (code === 1 || code === 132)
    return { code: 'protocol', message: `${url} does not speak this version of MQTT (code ${code})` };
  if (code === 4 || code === 134 || code === 140)
    return {
      code: 'credentials',
      message: `${url} refused the user name or password: check mqtt.username and mqtt.password_file`,
    };
  if (code === 5 || code === 135)
    return {
      code: 'credentials',
      message: `${url} does not authorise this device: check mqtt.username, mqtt.password_file and the broker's ACL`,
    };
  if (code === 2 || code === 133)
    return { code: 'protocol', message: `${url} refused the client id (code ${code})` };
  return { code: 'unreachable', message: `${url} refused the connection with code ${code}` };
}

function socketTrouble(code: string, message: string, url: string): Trouble {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return { code: 'dns', message: `the host name in ${url} cannot be resolved: check mqtt.url and DNS` };
    case 'ECONNREFUSED':
      return { code: 'refused', message: `nothing listens at ${url}: is the broker running?` };
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return { code: 'unreachable', message: `${url} cannot be reached: check the network` };
    case 'ETIMEDOUT':
      return { code: 'timeout', message: `${url} does not answer: check the address and firewalls` };
    case 'ECONNRESET':
    case 'EPIPE':
      return {
        code: 'closed',
        message: `${url} reset the connection: plain MQTT on a TLS port, or a broker that stopped?`,
      };
    default:
      if (/CERT|SSL|TLS|EPROTO|SELF_SIGNED|UNABLE_TO/.test(code))
        return {
          code: 'tls',
          message: `TLS with ${url} failed (${code}): check mqtt.ca_file, the certificates' dates and the host name`,
        };
      return { code: 'unreachable', message: `${url}: ${message}` };
  }
}
