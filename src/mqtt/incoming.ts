import { monotonicMs } from '../lib/clock.ts';
import type { IncomingMessage } from './inbox.ts';

/** The parts of a PUBLISH that slmd reads, as MQTT.js hands them over. */
export interface PublishPacket {
  topic: string;
  payload: string | Buffer;
  retain: boolean;
  properties?: {
    responseTopic?: string;
    correlationData?: Buffer;
    messageExpiryInterval?: number;
    /** A name that came more than once holds a list. */
    userProperties?: { [name: string]: string | string[] };
  };
}

/** A PUBLISH that has just arrived. */
export function incoming(
  { topic, payload, retain, properties }: PublishPacket,
  kept: boolean,
): IncomingMessage {
  const traceparent = properties?.userProperties?.traceparent;
  return {
    topic,
    payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    retained: retain,
    kept,
    received_at: monotonicMs(),
    response_topic: properties?.responseTopic ?? null,
    correlation: properties?.correlationData ?? null,
    expiry_s: properties?.messageExpiryInterval ?? null,
    traceparent: (Array.isArray(traceparent) ? traceparent[0] : traceparent) ?? null,
  };
}
