import mqtt, { type MqttClient } from 'mqtt';
import { type Topics, topicsOf } from '../../src/contract/topics.ts';
import type { Books } from './books.ts';

export interface Question {
  id: string;
  prompt: string;
  [member: string]: unknown;
}

export interface AskerOptions {
  url: string;
  version: 4 | 5;
  device: string;
  books: Books;
}

interface Pending {
  question: Question;
  sentAt: number;
  /** In which life of the broker the device said that it has it; null where it has not said so. */
  accepted: number | null;
  resolve(): void;
}

/** A requester sends again what nobody has accepted after so long. */
const unacceptedMs = 2000;
/** And what was accepted, but not answered for so long: a broker that was killed may have lost the result. */
const unansweredMs = 30_000;
const lookMs = 100;
const subscribedAtOnce = 100;

/**
 * A requester as the contract wants it: it sends the same id again, after a while and on every new
 * connection, until that has been accepted. From then on it trusts the device to come back with the result,
 * and holds it against the device where it does not.
 */
export class Asker {
  /** How often an id was sent again because nobody had accepted it. */
  asked_again = 0;
  /** Ids whose results a killed broker took with it: they came when the device was asked again. */
  readonly reminded: string[] = [];
  /** Ids that were accepted, and not answered although no broker was killed. */
  readonly forgotten: string[] = [];
  #brokerLife = 0;
  #answeredAt = 0;
  /** Resolves the waits for a refusal of some code. */
  readonly #refusalWaits: { code: string; resolve(): void }[] = [];
  readonly #client: MqttClient;
  readonly #topics: Topics;
  readonly #books: Books;
  readonly #pending = new Map<string, Pending>();
  readonly #looking: NodeJS.Timeout;
  #subscribed = false;

  private constructor(client: MqttClient, topics: Topics, books: Books) {
    this.#client = client;
    this.#topics = topics;
    this.#books = books;
    client.on('error', () => undefined);
    client.on('close', () => {
      this.#subscribed = false;
    });
    client.on('connect', () => void this.#onUp());
    client.on('message', (topic, payload) => this.#onMessage(topic, payload));
    this.#looking = setInterval(() => this.#look(), lookMs);
  }

  /** Connects, and connects again for as long as it is not stopped. */
  static async connect({ url, version, device, books }: AskerOptions): Promise<Asker> {
    const client = mqtt.connect(url, {
      protocolVersion: version,
      reconnectPeriod: 50,
      resubscribe: false,
      // In 3.1.1 a session outlives its connection, and with it what a broker keeps for it.
      ...(version === 4 ? { clean: false, clientId: `${device}-asker` } : {}),
    });
    const asker = new Asker(client, topicsOf('slmd', device), books);
    await new Promise<void>((resolve) => client.once('connect', () => resolve()));
    return asker;
  }

  /**
   * The retained results of these ids that somebody finds who comes now. Each is asked for by its own
   * name: not every broker keeps what is retained for wildcards.
   */
  static async retained(
    { url, version, device }: Omit<AskerOptions, 'books'>,
    ids: readonly string[],
  ): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>();
    const client = await mqtt.connectAsync(url, { protocolVersion: version });
    const { promise, resolve } = Promise.withResolvers<void>();
    const echo = `slmd-soak-echo/${process.pid}`;
    client.on('message', (topic, payload) => {
      if (topic === echo) resolve();
      else if (payload.length > 0) found.set(idOf(topic), payload);
      else found.delete(idOf(topic));
    });
    const topics = ids.map((id) => topicsOf('slmd', device).result(id));
    for (let i = 0; i < topics.length; i += subscribedAtOnce)
      await client.subscribeAsync(topics.slice(i, i + subscribedAtOnce), { qos: 1 });
    // What was retained comes before what is published afterwards.
    await client.subscribeAsync(echo, { qos: 1 });
    await client.publishAsync(echo, '', { qos: 1 });
    await promise;
    await client.endAsync(true);
    return found;
  }

  async stop(): Promise<void> {
    clearInterval(this.#looking);
    await this.#client.endAsync(true);
  }

  get pending(): number {
    return this.#pending.size;
  }

  /** Resolves when the answer is here, or an error that is an end; for an id of before, when its result came again. */
  ask(question: Question): Promise<void> {
    return new Promise((resolve) => {
      const pending = { question, sentAt: 0, accepted: null, resolve };
      this.#pending.set(question.id, pending);
      this.#send(pending);
    });
  }

  /** The broker is killed: what it had may be lost. */
  brokerKilled(): void {
    this.#brokerLife++;
  }

  /** Resolves at the next refusal with this code. */
  refusal(code: string): Promise<void> {
    return new Promise((resolve) => this.#refusalWaits.push({ code, resolve }));
  }

  async #onUp(): Promise<void> {
    try {
      await this.#client.subscribeAsync([this.#topics.result('+'), this.#topics.event('+')], { qos: 1 });
    } catch {
      return; // That connection has ended as well.
    }
    this.#subscribed = true;
    for (const pending of this.#pending.values()) if (pending.accepted === null) this.#sendAgain(pending);
  }

  #look(): void {
    if (!this.#subscribed) return;
    for (const pending of this.#pending.values()) {
      const { question, sentAt, accepted } = pending;
      // One of low priority is answered when no other is there: it waits for as long as they come.
      const since = question.priority === 'low' ? Math.max(sentAt, this.#answeredAt) : sentAt;
      if (accepted === null && performance.now() - sentAt > unacceptedMs) this.#sendAgain(pending);
      if (accepted !== null && performance.now() - since > unansweredMs) this.#remind(pending, accepted);
    }
  }

  #sendAgain(pending: Pending): void {
    if (pending.sentAt > 0) this.asked_again++;
    this.#send(pending);
  }

  #remind(pending: Pending, acceptedIn: number): void {
    const ids = acceptedIn === this.#brokerLife ? this.forgotten : this.reminded;
    ids.push(pending.question.id);
    this.#send(pending);
  }

  #send(pending: Pending): void {
    if (!this.#subscribed) return;
    pending.sentAt = performance.now();
    this.#client.publish(this.#topics.prompt, JSON.stringify(pending.question), { qos: 1 }, () => undefined);
  }

  #onMessage(topic: string, payload: Buffer): void {
    if (payload.length === 0) return; // A result that was taken back.
    if (topic.includes('/event/')) {
      const { id, event } = JSON.parse(payload.toString()) as { id: string; event: string };
      const pending = this.#pending.get(id);
      if (pending !== undefined && event === 'accepted') pending.accepted ??= this.#brokerLife;
      return;
    }
    const result = this.#books.heard(payload);
    if (result === null) this.#onRefusal(payload);
    else {
      this.#answeredAt = performance.now();
      this.#pending.get(result.id)?.resolve();
      this.#pending.delete(result.id);
    }
  }

  #onRefusal(payload: Buffer): void {
    const { error } = JSON.parse(payload.toString()) as { error: { code: string } };
    for (const [i, wait] of [...this.#refusalWaits.entries()].reverse())
      if (wait.code === error.code) {
        this.#refusalWaits.splice(i, 1);
        wait.resolve();
      }
  }
}

function idOf(topic: string): string {
  return topic.split('/').at(-1) as string;
}
