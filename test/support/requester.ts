import type { Socket } from 'node:net';
import mqtt, { type IClientOptions, type IClientPublishOptions, type MqttClient } from 'mqtt';
import type { RequestEvent, Result, TokenBatch } from '../../src/contract/result.ts';
import type { Info, Status } from '../../src/contract/status.ts';
import type { Telemetry } from '../../src/contract/telemetry.ts';
import { Heard, inTime, type Looking } from './wait.ts';

export interface Message {
  topic: string;
  payload: Buffer;
  qos: number;
  retain: boolean;
  response_topic: string | undefined;
  correlation: Buffer | undefined;
  user_properties: { [name: string]: string | string[] };
}

export interface RequesterOptions {
  url: string;
  version?: 5 | 4;
  device?: string;
  client?: IClientOptions;
  /** What it listens to; everything unless told otherwise. */
  filters?: string[];
  /** With which it listens. */
  qos?: 0 | 1;
}

let lastId = 0;

/** A client of its own, that records every message and sends what a test wants, right or wrong. */
export class TestRequester {
  readonly heard = new Heard<Message>();
  readonly client: MqttClient;
  readonly base: string;

  private constructor(client: MqttClient, device: string) {
    this.client = client;
    this.base = `slmd/${device}`;
    client.on('error', () => undefined);
    (client.stream as unknown as Socket).setNoDelay(true);
    client.on('message', (topic, payload, { qos, retain, properties }) =>
      this.heard.push({
        topic,
        payload,
        qos,
        retain,
        response_topic: properties?.responseTopic,
        correlation: properties?.correlationData,
        user_properties: { ...properties?.userProperties },
      }),
    );
  }

  /** Connects, subscribes, and reconnects for as long as it is not closed. */
  static async connect({
    url,
    version = 5,
    device = 'kitchen',
    client,
    filters = ['slmd/#', 'homeassistant/#'],
    qos = 1,
  }: RequesterOptions): Promise<TestRequester> {
    const connection = mqtt.connect(url, { protocolVersion: version, reconnectPeriod: 100, ...client });
    const requester = new TestRequester(connection, device);
    await inTime(new Promise((resolve) => connection.once('connect', resolve)), 'the requester connects');
    await connection.subscribeAsync(filters, { qos });
    return requester;
  }

  /** Not waited for: MQTT.js may never say that it has ended where it was about to reconnect. */
  async close(): Promise<void> {
    this.client.end(true);
  }

  publish(topic: string, payload: string | Buffer, options: IClientPublishOptions = {}): Promise<unknown> {
    return this.client.publishAsync(topic, payload, { qos: 1, ...options });
  }

  /** Sends a request under a new id, or its own; returns the id at once where the broker has it. */
  async send(
    request: string | { [member: string]: unknown },
    options?: IClientPublishOptions,
  ): Promise<string> {
    const whole = typeof request === 'string' ? { prompt: request } : request;
    const id = typeof whole.id === 'string' ? whole.id : `t-${++lastId}`;
    await this.publish(`${this.base}/prompt`, JSON.stringify({ id, ...whole }), options);
    return id;
  }

  async ask(
    request: string | { [member: string]: unknown },
    options?: IClientPublishOptions,
  ): Promise<Result> {
    return this.result(await this.send(request, options));
  }

  /** Sends any bytes to the prompt topic and waits for the next result, whatever its id. */
  async askRaw(payload: string | Buffer): Promise<Result> {
    const since = this.heard.mark;
    await this.publish(`${this.base}/prompt`, payload);
    // A result that is taken back is an empty message, and none.
    return parsed(
      await this.heard.find(
        ({ topic, payload }) => topic.startsWith(`${this.base}/result/`) && payload.length > 0,
        'a result',
        { since },
      ),
    );
  }

  cancel(id: string): Promise<unknown> {
    return this.publish(`${this.base}/cancel`, JSON.stringify({ id }));
  }

  ack(id: string): Promise<unknown> {
    return this.publish(`${this.base}/ack`, JSON.stringify({ id }));
  }

  async result(id: string, looking?: Looking): Promise<Result> {
    return parsed(await this.on(`${this.base}/result/${id}`, looking));
  }

  event(id: string, event: RequestEvent['event'], looking?: Looking): Promise<Message> {
    const accepts = (message: Message) =>
      message.topic === `${this.base}/event/${id}` && parsed<RequestEvent>(message).event === event;
    return this.heard.find(accepts, `${id} is ${event}`, looking);
  }

  events(id: string): RequestEvent[] {
    return this.documents(`${this.base}/event/${id}`);
  }

  tokens(id: string): TokenBatch[] {
    return this.documents(`${this.base}/token/${id}`);
  }

  async status(accepts: (status: Status) => boolean, looking?: Looking): Promise<Status> {
    const message = await this.heard.find(
      (message) => message.topic === `${this.base}/status` && accepts(parsed(message)),
      `a status such as ${accepts}; heard ${JSON.stringify(this.documents(`${this.base}/status`))}`,
      looking,
    );
    return parsed(message);
  }

  ready(looking?: Looking): Promise<Status> {
    return this.status(({ state }) => state === 'ready', looking);
  }

  async info(looking?: Looking): Promise<Info> {
    const accepts = (message: Message) =>
      message.topic === `${this.base}/info` && parsed<Info>(message).model !== null;
    return parsed(await this.heard.find(accepts, 'an info that names a model', looking));
  }

  async telemetry(accepts: (document: Telemetry) => boolean): Promise<Telemetry> {
    const message = await this.heard.find(
      (message) => message.topic === `${this.base}/telemetry` && accepts(parsed(message)),
      `a telemetry such as ${accepts}`,
    );
    return parsed(message);
  }

  /** The first message on a topic. */
  on(topic: string, looking?: Looking): Promise<Message> {
    return this.heard.find((message) => message.topic === topic, `a message on ${topic}`, looking);
  }

  /** Everything that was heard on a topic so far. */
  messages(topic: string): Message[] {
    return this.heard.all.filter((message) => message.topic === topic);
  }

  documents<T>(topic: string): T[] {
    return this.messages(topic).map((message) => parsed<T>(message));
  }

  /** Resolves when the broker has passed on everything that this client sent before. */
  async echo(): Promise<void> {
    const topic = `${this.base}-test/echo/${++lastId}`;
    await this.publish(topic, '');
    await this.on(topic);
  }
}

export function parsed<T>({ payload }: Message): T {
  return JSON.parse(payload.toString()) as T;
}

/** Whether a message is a result; an empty one only takes an earlier one back. */
export function isResult({ topic, payload }: Message): boolean {
  return topic.includes('/result/') && payload.length > 0;
}
