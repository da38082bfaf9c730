import type { Socket } from 'node:net';
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { address, type ConnectionOptions, tlsOptions } from './connection-options.ts';
import { type IntakeEvents, keepsSessions, receive } from './intake.ts';
import { ConnectError, disconnectTrouble, floodTrouble, type Trouble, troubleOf } from './trouble.ts';
import { Window } from './window.ts';

export type ProtocolVersion = 5 | 4;

export interface PublishOptions {
  qos: 0 | 1;
  retain?: boolean;
  /** MQTT 5 only; dropped in 3.1.1, where the payload says it all. */
  correlation?: Buffer | null;
  expiry_s?: number;
  content_type?: string;
  user_properties?: Record<string, string>;
}

/** MQTT 5 reason codes (§2.4) that slmd acts on; 3.1.1 has no codes and reports `success`. */
export const reasonCodes = {
  success: 0,
  noMatchingSubscribers: 16,
  failure: 128,
  packetTooLarge: 149,
} as const;

const goodbyeMs = 1000;
/** A topic's length, a packet id and properties, generously. */
const packetOverheadBytes = 512;

/** What the broker said it can take, from its CONNACK. */
export interface BrokerLimits {
  packet_bytes_max: number;
  receive_maximum: number;
}

/** How large a payload may be on a topic: the broker ends the connection for a packet above its maximum. */
export function payloadBytesMax(
  { packet_bytes_max }: Pick<BrokerLimits, 'packet_bytes_max'>,
  topic: string,
): number {
  return packet_bytes_max - Buffer.byteLength(topic) - packetOverheadBytes;
}

/**
 * One network connection to a broker, from CONNACK to its end. It is never reopened.
 *
 * A new connection is a new MQTT.js client. Packet identifiers, pending acknowledgements and stored
 * packets belong to one connection, and MQTT.js keeps some of them across its own reconnects, which
 * acknowledges messages that nobody has handled. What must survive a connection lives outside it.
 */
export class Connection {
  readonly protocol: ProtocolVersion;
  readonly limits: BrokerLimits;
  /** Whether the broker remembers this client. */
  readonly session_present: boolean;
  /** Whether it will, as far as it says. */
  readonly keeps_sessions: boolean;
  /** As the broker wants it, where it has a wish. */
  readonly keepalive_s: number;
  /** Settles once, when the connection is over. */
  readonly closed: Promise<Trouble>;
  readonly #client: MqttClient;
  readonly #reasonCodes = new Map<number, number>();
  /** How many acknowledgements the broker lets us wait for at once; MQTT.js does not keep to it. */
  readonly #window: Window;
  /** Calls that wait for the broker. MQTT.js leaves them open for its own reconnect, which never comes. */
  readonly #waiting = new Set<(error: Error) => void>();

  private constructor(
    client: MqttClient,
    protocol: ProtocolVersion,
    connack: mqtt.IConnackPacket,
    closed: Promise<Trouble>,
  ) {
    this.#client = client;
    this.protocol = protocol;
    this.limits = {
      packet_bytes_max: connack.properties?.maximumPacketSize ?? 268_435_455,
      receive_maximum: connack.properties?.receiveMaximum ?? 65_535,
    };
    this.session_present = connack.sessionPresent;
    this.keeps_sessions = keepsSessions(client);
    this.keepalive_s = client.keepalive;
    this.#window = new Window(this.limits.receive_maximum);
    this.closed = closed;
    void closed.then((trouble) => {
      for (const reject of this.#waiting) reject(new Error(trouble.message));
    });
    // MQTT.js gives a publisher its own packet back, not the PUBACK with the reason code.
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'puback') this.#reasonCodes.set(packet.messageId ?? 0, packet.reasonCode ?? 0);
    });
  }

  /**
   * Resolves at a CONNACK that accepts; throws `ConnectError`, also when it is aborted before that.
   * Messages may arrive before it resolves.
   */
  static open(
    options: ConnectionOptions,
    protocol: ProtocolVersion,
    events: Pick<IntakeEvents, 'message' | 'dropped'>,
    signal: AbortSignal,
  ): Promise<Connection> {
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    const over = Promise.withResolvers<Trouble>();
    let trouble: Trouble | null = null;
    let reached = false;
    let client: MqttClient;
    try {
      client = mqtt.connect(clientOptions(options, protocol));
    } catch (error) {
      return Promise.reject(new ConnectError(troubleOf(error, options.url), { cause: error }));
    }
    sendAtOnce(client);
    client.stream.once('connect', () => {
      reached = true;
    });
    const sessionKept = options.session_expiry_s > 0;
    receive(
      client,
      { protocolVersion: protocol, sessionKept },
      {
        ...events,
        flooded: () => {
          trouble ??= floodTrouble(options.url);
          client.end(true);
        },
      },
    );
    client.on('connect', (connack) => resolve(new Connection(client, protocol, connack, over.promise)));
    client.on('error', (error) => {
      trouble ??= troubleOf(error, options.url, reached, client.serverProperties?.serverReference);
      client.end(true);
      reject(new ConnectError(trouble, { cause: error }));
    });
    client.on('disconnect', (packet) => {
      trouble ??= disconnectTrouble(packet.reasonCode ?? 0, options.url, packet.properties?.serverReference);
    });
    client.on('close', () => {
      const ended: Trouble = trouble ?? { code: 'closed', message: `${options.url} closed the connection` };
      over.resolve(ended);
      reject(new ConnectError(ended));
      client.end(true);
    });
    const abort = () => client.end(true);
    signal.addEventListener('abort', abort);
    return promise.finally(() => signal.removeEventListener('abort', abort));
  }

  get connected(): boolean {
    return this.#client.connected;
  }

  /**
   * Subscribes with QoS 1. Some brokers grant what they then filter.
   *
   * @returns what the broker refuses, with its reason code: empty where it grants everything
   * @throws when the connection ends first
   */
  async subscribe(topics: readonly string[]): Promise<Map<string, number>> {
    const retain = this.protocol === 5 ? { rap: true } : {};
    const wanted = Object.fromEntries(topics.map((topic) => [topic, { qos: 1 as const, ...retain }]));
    try {
      await this.#whileOpen(this.#client.subscribeAsync(wanted));
      return new Map();
    } catch (error) {
      // One code for each topic, in their order.
      const granted = (error as { packet?: { granted?: unknown } }).packet?.granted;
      if (!Array.isArray(granted) || granted.length !== topics.length) throw error;
      const answers = topics.map((topic, i) => [topic, Number(granted[i])] as const);
      return new Map(answers.filter(([, code]) => code >= reasonCodes.failure));
    }
  }

  unsubscribe(topics: string[]): Promise<unknown> {
    return this.#whileOpen(this.#client.unsubscribeAsync(topics));
  }

  /**
   * Publishes and, for QoS 1, waits for the PUBACK. What is larger than the broker's packets is not sent.
   *
   * @returns the reason code, `reasonCodes.success` for QoS 0 and for 3.1.1
   * @throws when the connection ends first: the message may or may not have arrived
   */
  async publish(topic: string, payload: string | Buffer, options: PublishOptions): Promise<number> {
    if (Buffer.byteLength(payload) > payloadBytesMax(this.limits, topic)) return reasonCodes.packetTooLarge;
    if (options.qos === 0) return this.#publish(topic, payload, options);
    await this.#window.enter();
    try {
      return await this.#publish(topic, payload, options);
    } finally {
      this.#window.leave();
    }
  }

  async #publish(topic: string, payload: string | Buffer, options: PublishOptions): Promise<number> {
    try {
      const publishing = this.#client.publishAsync(topic, payload, {
        qos: options.qos,
        retain: options.retain ?? false,
        ...(this.protocol === 5 ? { properties: publishProperties(options) } : {}),
      });
      const packet = await this.#whileOpen(publishing);
      const code = this.#reasonCodes.get(packet?.messageId ?? -1) ?? reasonCodes.success;
      this.#reasonCodes.delete(packet?.messageId ?? -1);
      return code;
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (typeof code === 'number' && code >= reasonCodes.failure) return code;
      throw error;
    }
  }

  #whileOpen<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      work.then(resolve, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  /**
   * Says DISCONNECT, so that the broker does not publish the will. A broker that does not listen is
   * left without a word: MQTT.js would wait for its acknowledgements for ever.
   */
  async close(): Promise<void> {
    const limit = setTimeout(() => this.#client.stream.destroy(), goodbyeMs);
    await Promise.race([this.#client.endAsync(false), this.closed]);
    clearTimeout(limit);
  }

  /** Drops the network connection without a word: the broker publishes the will. */
  destroy(): void {
    this.#client.end(true);
  }
}

/**
 * Small packets that follow each other, as an event, a piece and a result do, must not wait for the
 * acknowledgement of the one before: with Nagle's algorithm that is 40 ms on every answer.
 */
function sendAtOnce({ stream }: MqttClient): void {
  if ('setNoDelay' in stream) (stream as unknown as Socket).setNoDelay(true);
}

function clientOptions(options: ConnectionOptions, protocol: ProtocolVersion): IClientOptions {
  const { will } = options;
  return {
    ...address(options.url),
    protocolVersion: protocol,
    clientId: options.client_id,
    clean: options.session_expiry_s === 0,
    keepalive: options.keepalive_s,
    connectTimeout: options.connect_timeout_ms,
    reconnectPeriod: 0,
    resubscribe: false,
    queueQoSZero: false,
    timerVariant: 'native',
    ...(options.username === null ? {} : { username: options.username }),
    ...(options.password === null ? {} : { password: options.password }),
    ...tlsOptions(options),
    ...(protocol === 5
      ? {
          properties: {
            sessionExpiryInterval: options.session_expiry_s,
            receiveMaximum: options.receive_maximum,
            maximumPacketSize: options.packet_bytes_max,
          },
        }
      : {}),
    ...(will === null
      ? {}
      : {
          will: {
            topic: will.topic,
            payload: Buffer.from(will.payload),
            qos: 1 as const,
            retain: true,
            ...(protocol === 5 ? { properties: { willDelayInterval: will.delay_s } } : {}),
          },
        }),
  };
}

function publishProperties(options: PublishOptions): NonNullable<mqtt.IClientPublishOptions['properties']> {
  return {
    ...(options.correlation ? { correlationData: options.correlation } : {}),
    ...(options.expiry_s === undefined ? {} : { messageExpiryInterval: options.expiry_s }),
    ...(options.content_type === undefined
      ? {}
      : { contentType: options.content_type, payloadFormatIndicator: true }),
    ...(options.user_properties === undefined ? {} : { userProperties: options.user_properties }),
  };
}
