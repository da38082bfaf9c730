import type { BrokerLimits, Connection, ProtocolVersion, PublishOptions } from '../../src/mqtt/client.ts';
import { settled } from './wait.ts';

export interface FakePublish {
  topic: string;
  payload: string;
  options: PublishOptions;
  /** Answers as the broker's PUBACK does. */
  acknowledge(reasonCode?: number): Promise<void>;
}

interface FakeOptions extends Partial<BrokerLimits> {
  protocol?: ProtocolVersion;
  /** Acknowledges by itself with this reason code; null leaves it to the test. */
  answer?: number | null;
}

/** A whole fake of a connection, as far as who publishes over it can tell: nothing leaves the process. */
export class FakeConnection {
  readonly protocol: ProtocolVersion;
  readonly limits: BrokerLimits;
  readonly published: FakePublish[] = [];
  /** Publishes that wait for their acknowledgement. */
  readonly underWay = new Set<FakePublish>();
  readonly #answer: number | null;
  readonly #cuts = new Set<() => void>();
  #over = false;

  constructor({
    protocol = 5,
    packet_bytes_max = 1e6,
    receive_maximum = 65_535,
    answer = null,
  }: FakeOptions = {}) {
    this.protocol = protocol;
    this.limits = { packet_bytes_max, receive_maximum };
    this.#answer = answer;
  }

  /** What a room is given. */
  get asConnection(): Connection {
    return this as unknown as Connection;
  }

  get topics(): string[] {
    return this.published.map(({ topic }) => topic);
  }

  publish(topic: string, payload: string, options: PublishOptions): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const publish: FakePublish = {
      topic,
      payload,
      options,
      acknowledge: async (reasonCode = 0) => {
        this.underWay.delete(publish);
        resolve(reasonCode);
        await settled();
      },
    };
    this.published.push(publish);
    this.underWay.add(publish);
    this.#cuts.add(() => reject(new Error('the connection was cut')));
    if (this.#over) reject(new Error('the connection is over'));
    if (this.#answer !== null) void publish.acknowledge(this.#answer);
    return promise;
  }

  /** The connection ends: what is under way is answered by nobody. */
  async cut(): Promise<void> {
    this.#over = true;
    for (const cut of this.#cuts) cut();
    await settled();
  }
}
