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
  | 'unsuitable'
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
 * @param elsewhere where the broker sends its clients, if it does
 */
export function troubleOf(error: unknown, url: string, reached = true, elsewhere?: string): Trouble {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === 'number') return connackTrouble(code, url, elsewhere);
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
export function disconnectTrouble(code: number, url: string, elsewhere?: string): Trouble {
  if (code === 142)
    return { code: 'taken_over', message: `${url} has given this client id to another connection` };
  return (
    unsuitable(code, url, elsewhere) ?? {
      code: 'closed',
      message: `${url} ended the connection with code ${code}${meaningOf(code)}`,
    }
  );
}

/** What slmd cannot do without, and a broker that is no longer the right one. */
function unsuitable(code: number, url: string, elsewhere?: string): Trouble | null {
  const trouble = (message: string): Trouble => ({ code: 'unsuitable', message: `${url} ${message}` });
  switch (code) {
    case 154:
      return trouble(
        'retains no messages, and slmd needs that: allow it there (Mosquitto: retain_available)',
      );
    case 155:
      return trouble('does not offer QoS 1, and slmd needs that: allow it there (Mosquitto: max_qos)');
    case 156:
    case 157:
      return trouble(`sends its clients to ${elsewhere ?? 'another broker'}: set mqtt.url to that one`);
    default:
      return null;
  }
}

/** MQTT 5.0 §2.4, as far as a broker may end a connection by it, or refuse one, and it is no news to a reader. */
const meanings: { [code: number]: string } = {
  129: 'malformed packet',
  130: 'protocol error',
  131: 'implementation specific error',
  136: 'server unavailable',
  137: 'server busy',
  138: 'banned',
  139: 'server shutting down',
  141: 'keep alive timeout',
  144: 'topic name invalid',
  147: 'receive maximum exceeded',
  149: 'packet too large',
  150: 'message rate too high',
  151: 'quota exceeded',
  152: 'administrative action',
  159: 'connection rate exceeded',
  160: 'maximum connect time',
};

function meaningOf(code: number): string {
  return code in meanings ? ` (${meanings[code]})` : '';
}

/** A broker that sends on and on, whatever has not been acknowledged. */
export function floodTrouble(url: string): Trouble {
  return {
    code: 'flooded',
    message: `${url} sends without waiting for acknowledgements: bound what it has under way to a client (MQTT 5: it ignores the receive maximum)`,
  };
}

function connackTrouble(code: number, url: string, elsewhere?: string): Trouble {
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
  return (
    unsuitable(code, url, elsewhere) ?? {
      code: 'unreachable',
      message: `${url} refused the connection with code ${code}${meaningOf(code)}`,
    }
  );
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
          message: `TLS with ${url} failed (${code}): check mqtt.ca_file, the certificates' dates and the host name${clock(code)}`,
        };
      return { code: 'unreachable', message: `${url}: ${message}` };
  }
}

/** A board without a battery for its clock believes in 1970 that no certificate is valid yet. */
function clock(code: string): string {
  const dated = /NOT_YET_VALID|EXPIRED/.test(code);
  return dated ? `, and this board's clock, which says ${new Date().toISOString()}` : '';
}
