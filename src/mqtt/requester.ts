import type { WireRequest } from '../contract/request.ts';
import type { RequestEvent, Result, TokenBatch } from '../contract/result.ts';
import type { Status } from '../contract/status.ts';
import { type Topics, topicMatches, topicsOf } from '../contract/topics.ts';
import { within } from '../lib/within.ts';
import { BrokerAddresses } from './broker-addresses.ts';
import { type Connection, reasonCodes } from './client.ts';
import type { ConnectionOptions } from './connection-options.ts';
import type { IncomingMessage } from './inbox.ts';
import { Link, type LinkOptions } from './link.ts';
import { ConnectError, type Trouble } from './trouble.ts';

export interface RequesterOptions {
  connection: Omit<ConnectionOptions, 'session_expiry_s' | 'will' | 'receive_maximum' | 'packet_bytes_max'>;
  /** Other nodes of the same cluster. */
  fallback_urls: readonly string[];
  protocol: LinkOptions['protocol'];
  prefix: string;
}

export interface AskEvents {
  event?(event: RequestEvent): void;
  token?(batch: TokenBatch): void;
}

interface Question {
  topics: Topics;
  request: WireRequest & { id: string };
  events: AskEvents;
  resolve(result: Result): void;
  reject(error: Error): void;
}

const reconnect = { min_ms: 200, max_ms: 5000 };
/** A broker may hang up on MQTT 5 twice before 3.1.1 is tried; after that it is not there. */
const firstAttemptsMax = 4;
/** Leaving must not wait for a broker that has stopped listening. */
const goodbyeMs = 1000;
/** Retained statuses arrive together; after this much silence there are no more. */
const discoveryMs = 400;

/**
 * The other end of the contract: asks a device and waits for its one result.
 *
 * A question is asked again, with the same id, on every new connection until its result is here: the
 * device computes it once, however often it is asked.
 */
export class Requester {
  readonly #addresses: BrokerAddresses;
  readonly #link: Link;
  readonly #prefix: string;
  readonly #questions = new Map<string, Question>();
  readonly #statuses = new Map<string, Status>();
  readonly #connected = Promise.withResolvers<void>();
  /** Acknowledgements of results that the broker does not have yet. */
  readonly #acknowledging = new Set<Promise<unknown>>();
  #onStatus: (device: string, status: Status) => void = () => undefined;
  #failures = 0;
  /** Addresses, one after the other, where nobody could be reached. */
  #unreached = 0;

  constructor({ connection, fallback_urls, protocol, prefix }: RequesterOptions) {
    this.#prefix = prefix;
    this.#addresses = new BrokerAddresses({ url: connection.url, fallback_urls });
    this.#link = new Link(
      {
        connection: () => ({
          ...connection,
          url: this.#addresses.current,
          session_expiry_s: 0,
          will: null,
          receive_maximum: 64,
          packet_bytes_max: 16_777_216,
        }),
        protocol,
        reconnect: (ended) => {
          this.#addresses.ended(ended);
          return reconnect;
        },
      },
      {
        message: (message, acknowledge) => {
          acknowledge();
          this.#onMessage(message);
        },
        dropped: () => undefined, // What is received is acknowledged at once.
        up: (link) => this.#onUp(link),
        down: (trouble) => this.#onDown(trouble),
      },
    );
  }

  /** @throws ConnectError where the broker cannot be used */
  async connect(): Promise<void> {
    this.#link.start();
    await this.#connected.promise;
  }

  async close(): Promise<void> {
    await within(goodbyeMs, Promise.all(this.#acknowledging));
    await this.#link.stop();
  }

  /** The devices that the broker knows, with their states. */
  async devices(): Promise<Map<string, Status>> {
    const filter = `${this.#prefix}/+/status`;
    await subscribed(this.#link.connection, [filter]);
    await new Promise((resolve) => setTimeout(resolve, discoveryMs));
    await this.#link.connection?.unsubscribe([filter]);
    return this.#statuses;
  }

  /** Resolves when a device says that it is ready; rejects where it says why it is not, or by the signal. */
  async ready(device: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { status } = topicsOf(this.#prefix, device);
    const ready = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => ready.reject(signal.reason));
    this.#onStatus = (name, { state, why }) => {
      if (name === device && state === 'ready') ready.resolve();
      if (name === device && state === 'degraded') ready.reject(new Error(`${device} is degraded: ${why}`));
    };
    await subscribed(this.#link.connection, [status]);
    await ready.promise;
  }

  /**
   * Resolves with the one result, and tells the device that it is here, so that no copy stays on the
   * broker; rejects with the signal's reason, having told the device that nobody waits any more.
   */
  async ask(
    device: string,
    request: WireRequest & { id: string },
    events: AskEvents,
    signal: AbortSignal,
  ): Promise<Result> {
    signal.throwIfAborted();
    const topics = topicsOf(this.#prefix, device);
    const answer = new Promise<Result>((resolve, reject) => {
      const question = { topics, request, events, resolve, reject };
      this.#questions.set(request.id, question);
      signal.addEventListener('abort', () => {
        void this.#link.connection
          ?.publish(topics.cancel, JSON.stringify({ id: request.id }), { qos: 1 })
          .catch(() => undefined);
        reject(signal.reason);
      });
      if (this.#link.connection !== null) void this.#put(question, this.#link.connection);
    });
    try {
      const result = await answer;
      // A refusal was never retained.
      if (result.status !== 'rejected') this.#acknowledge(topics.ack, request.id);
      return result;
    } finally {
      this.#questions.delete(request.id);
    }
  }

  /** Lost with its connection: then the device takes the copy back when its time has passed. */
  #acknowledge(topic: string, id: string): void {
    const publishing = this.#link.connection?.publish(topic, JSON.stringify({ id }), { qos: 1 });
    if (publishing === undefined) return;
    const done = publishing.catch(() => undefined);
    this.#acknowledging.add(done);
    void done.then(() => this.#acknowledging.delete(done));
  }

  async #put({ topics, request, reject }: Question, connection: Connection): Promise<void> {
    const { event, token, result, prompt } = topics;
    try {
      await subscribed(connection, [event(request.id), token(request.id), result(request.id)]);
      const code = await connection.publish(prompt, JSON.stringify(request), {
        qos: 1,
        content_type: 'application/json',
        ...(request.deadline_ms === undefined ? {} : { expiry_s: Math.ceil(request.deadline_ms / 1000) }),
      });
      if (code >= reasonCodes.failure) reject(notAllowed(`publishing to ${prompt} (code ${code})`));
    } catch (error) {
      // A connection that ended: the question is put again on the next.
      if (connection.connected) reject(error as Error);
    }
  }

  async #onUp(connection: Connection): Promise<void> {
    this.#connected.resolve();
    await Promise.all([...this.#questions.values()].map((question) => this.#put(question, connection)));
  }

  #onDown(trouble: Trouble): void {
    const mayFallBack = trouble.code === 'closed' || trouble.code === 'protocol';
    const over = mayFallBack
      ? ++this.#failures >= firstAttemptsMax
      : ++this.#unreached >= this.#addresses.count;
    if (over) this.#connected.reject(new ConnectError(trouble));
  }

  #onMessage({ topic, payload }: IncomingMessage): void {
    const document = parsed(payload);
    if (document === null) return;
    if (topicMatches(`${this.#prefix}/+/status`, topic)) {
      const device = topic.split('/').at(-2) ?? '';
      this.#statuses.set(device, document as Status);
      this.#onStatus(device, document as Status);
    }
    const question = this.#questions.get(String((document as { id?: unknown }).id));
    if (question === undefined) return;
    const { topics, request, events, resolve } = question;
    if (topic === topics.event(request.id)) events.event?.(document as RequestEvent);
    if (topic === topics.token(request.id)) events.token?.(document as TokenBatch);
    if (topic === topics.result(request.id)) resolve(document as Result);
  }
}

/** @throws ConnectError where the broker refuses any of them */
async function subscribed(connection: Connection | null, topics: string[]): Promise<void> {
  for (const [topic, code] of (await connection?.subscribe(topics)) ?? [])
    throw notAllowed(`subscribing to ${topic} (code ${code})`);
}

function notAllowed(what: string): ConnectError {
  return new ConnectError({ code: 'not_authorized', message: `the broker refuses ${what}` });
}

function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return null;
  }
}
