import { topicsOf } from '../../src/contract/topics.ts';
import { type InboxOptions, type IncomingMessage, type Reading, readMessage } from '../../src/mqtt/inbox.ts';

export const inbox: InboxOptions = {
  topics: topicsOf('slmd', 'kitchen'),
  payload_bytes_max: 4096,
  response_topics: ['slmd/+/response/#'],
  defaults: {
    temperature: 0,
    top_k: 40,
    top_p: 1,
    min_p: 0,
    repetition_penalty: 1,
    stream: true,
    deadline_ms: null,
    system_prompt: null,
  },
};

/** A message on the prompt topic, as a broker delivers it. */
export function promptMessage(
  payload: string | Buffer | object,
  more: Partial<IncomingMessage> = {},
): IncomingMessage {
  const bytes = Buffer.isBuffer(payload)
    ? payload
    : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
  return {
    topic: inbox.topics.prompt,
    payload: bytes,
    retained: false,
    kept: true,
    received_at: 1000,
    response_topic: null,
    correlation: null,
    expiry_s: null,
    traceparent: null,
    ...more,
  };
}

export function read(
  payload: string | Buffer | object,
  more?: Partial<IncomingMessage>,
  options: Partial<InboxOptions> = {},
): Reading {
  return readMessage(promptMessage(payload, more), { ...inbox, ...options });
}

/** The request that a payload is read as; throws where it is refused. */
export function requestOf(payload: string | Buffer | object, more?: Partial<IncomingMessage>) {
  const reading = read(payload, more);
  if (reading.kind !== 'prompt') throw new Error(`not a request but ${JSON.stringify(reading)}`);
  return reading.request;
}

/** The refusal that a payload is read as; throws where it is none. */
export function refusalOf(payload: string | Buffer | object, more?: Partial<IncomingMessage>) {
  const reading = read(payload, more);
  if (reading.kind !== 'refusal') throw new Error(`not a refusal but ${JSON.stringify(reading)}`);
  return reading.refusal;
}
