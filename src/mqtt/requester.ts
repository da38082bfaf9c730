import type { WireRequest } from '../contract/request.ts';
import type { RequestEvent, Result, TokenBatch } from '../contract/result.ts';
import type { Status } from '../contract/status.ts';
import { type Topics, topicMatches, topicsOf } from '../contract/topics.ts';
import type { Connection, ConnectionOptions } from './client.ts';
import type { IncomingMessage } from './inbox.ts';
import { Link, type LinkOptions } from './link.ts';
import { ConnectError, type Trouble } from './trouble.ts';

export interface RequesterOptions {
  connection: Omit<ConnectionOptions, 'session_expiry_s' | 'will' | 'receive_maximum' | 'packet_bytes_max'>;
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
}

const reconnect = { min_ms: 200, max_ms: 5000 };
/** A broker may hang up on MQTT 5 twice before 3.1.1 is tried; after that it is not there. */
const firstAttemptsMax = 4;
/** Retained statuses arrive together; after this much silence there are no more. */
const discoveryMs = 400;

/**
 * The other end of the contract: asks a device and waits for its one result.
 *
 * A question is asked again, with the same id, on every new connection until its result is here: the
 * device computes it once, however often it is asked.
 */
export class Requester {
  readonly #link: Link;
  readonly #prefix: string;
  readonly #questions = new Map<string, Question>();
  readonly #statuses = new Map<string, Status>();
  readonly #connected = Promise.withResolvers<void>();
  #onStatus: (device: string, status: Status) => void = () => undefined;
  #failures = 0;

  constructor({ connection, protocol, prefix }: RequesterOptions) {
    this.#prefix = prefix;
    this.#link = new Link(
      {
        connection: {
          ...connection,
          session_expiry_s: 0,
          will: null,
          receive_maximum: 64,
          packet_bytes_max: 16_777_216,
        },
        protocol,
        reconnect,
      },
      {
        message: (message, acknowledge) => {
          acknowledge();
          this.#onMessage(message);
        },
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

  close(): Promise<void> {
    return this.#link.stop();
  }

  /** The devices that the broker knows, with their states. */
  async devices(): Promise<Map<string, Status>> {
    const filter = `${this.#prefix}/+/status`;
    await this.#link.connection?.subscribe([filter]);
    await new Promise((resolve) => setTimeout(resolve, discoveryMs));
    await this.#link.connection?.unsubscribe([filter]);
    return this.#statuses;
  }

  /** Resolves when a device says that it is ready; rejects with the signal's reason. */
  async ready(device: string, signal: AbortSignal): Promise<void> {
    const { status } = topicsOf(this.#prefix, device);
    const ready = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => ready.reject(signal.reason));
    this.#onStatus = (name, { state }) => {
      if (name === device && state === 'ready') ready.resolve();
    };
    await this.#link.connection?.subscribe([status]);
    await ready.promise;
  }

  /** Resolves with the one result; rejects with the signal's reason, having told the device. */
  async ask(
    device: string,
    request: WireRequest & { id: string },
    events: AskEvents,
    signal: AbortSignal,
  ): Promise<Result> {
    const topics = topicsOf(this.#prefix, device);
    const answer = new Promise<Result>((resolve, reject) => {
      const question = { topics, request, events, resolve };
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
      return await answer;
    } finally {
      this.#questions.delete(request.id);
    }
  }

  async #put({ topics, request }: Question, connection: Connection): Promise<void> {
    try {
      await connection.subscribe([
        topics.event(request.id),
        topics.token(request.id),
        topics.result(request.id),
      ]);
      await connection.publish(topics.prompt, JSON.stringify(request), {
        qos: 1,
        content_type: 'application/json',
      });
    } catch {
      // The connection ended: the question is put again on the next.
    }
  }

  async #onUp(connection: Connection): Promise<void> {
    this.#connected.resolve();
    await Promise.all([...this.#questions.values()].map((question) => this.#put(question, connection)));
  }

  #onDown(trouble: Trouble): void {
    const mayFallBack = trouble.code === 'closed' || trouble.code === 'protocol';
    if (!mayFallBack || ++this.#failures >= firstAttemptsMax)
      this.#connected.reject(new ConnectError(trouble));
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

function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch {
    return null;
  }
}
