import type { PublishPacket } from '../../src/mqtt/incoming.ts';
import { randomNumbers } from './random.ts';

/** A payload and the topic that it goes to. */
export interface Malformed {
  topic: string;
  payload: Buffer;
}

/** For each member of a request, values that the contract takes: without them little comes past the first check. */
const members: { [name: string]: readonly unknown[] } = {
  prompt: ['echo hello'],
  messages: [[{ role: 'user', content: 'echo hello' }]],
  max_tokens: [1, 16],
  temperature: [0, 0.5],
  top_p: [0.9, 1],
  top_k: [0, 10],
  min_p: [0.05],
  repetition_penalty: [1.1],
  seed: [0, 2 ** 32 - 1],
  stop: ['x', ['x', 'y']],
  stream: [true, false],
  response_format: [
    { type: 'text' },
    { type: 'json_object' },
    { type: 'json_schema', json_schema: { schema: {} } },
    { type: 'json_schema', json_schema: { schema: { not: {} } } },
  ],
  deadline_ms: [60_000],
  priority: ['low', 'normal', 'high'],
  metadata: [{}, { a: [1, { b: null }] }, { ['__proto__']: 7 }],
};
const names = Object.keys(members);
const plausible = Object.values(members).flat();

const strangeTexts = [
  '',
  ' ',
  '\0',
  '\ud800',
  '\u202e',
  '\ufeff',
  'é'.normalize('NFD'),
  '👩‍👩‍👧‍👦',
  '../../etc',
  '+/#',
  '$SYS',
  '__proto__',
  'constructor',
  'toString',
  '{}',
  'text',
  'high',
  'x'.repeat(3000),
];
const strangeIds = ['', ' ', 'a/b', '+', '#', '\0', 'é', 'x'.repeat(129), null, ['a'], {}];
const strangeNumbers = [-1, -0, 0, 0.1, 2, 64, 2 ** 31, 2 ** 32, 2 ** 53, 1e308, Number.MIN_VALUE];
const strangeWords = [
  'NaN',
  'Infinity',
  '1e999',
  '-1e999',
  '0x10',
  '1'.repeat(400),
  'undefined',
  '[',
  '"\\ud800"',
];

const levels = [
  ...Array<string>(20).fill('prompt'),
  ...['cancel', 'ack', 'probe', 'prompt/x', 'info/set', 'Prompt', ''],
];
const responseTopics = ['slmd/me/response/1', 'elsewhere', '', '+/#', 'a\0', '$SYS/x', 'x'.repeat(70_000)];
const correlations = [Buffer.alloc(0), Buffer.from([1, 2, 255]), Buffer.alloc(256), Buffer.alloc(257)];
const expiries = [0, 1, 60, 2 ** 32 - 1];
const traceparents = ['', '00-ab-cd-01', 'x'.repeat(128), 'x'.repeat(129), ['00-ab-cd-01', 'second'], []];

/** Payloads that are wrong in many ways, and some that are right by chance: the same for the same seed. */
export class Fuzzer {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomNumbers(seed);
  }

  next(base: string): Malformed {
    return { topic: `${base}/${this.#pick(levels)}`, payload: this.#payload() };
  }

  /** A PUBLISH with flags and MQTT 5 properties, now and then with a topic that is none. */
  packet(base: string): PublishPacket {
    const { topic, payload } = this.next(base);
    return {
      topic: this.#often(0.98) ? topic : this.#pick(strangeTexts),
      payload,
      retain: this.#often(0.1),
      ...(this.#often(0.4) ? {} : { properties: this.#properties() }),
    };
  }

  #properties(): NonNullable<PublishPacket['properties']> {
    const user: { [name: string]: string | string[] } = Object.create(null);
    if (this.#often(0.5)) user.traceparent = this.#pick(traceparents);
    if (this.#often(0.2)) user[this.#pick(strangeTexts)] = this.#pick(strangeTexts);
    return {
      ...(this.#often(0.3) ? { responseTopic: this.#pick(responseTopics) } : {}),
      ...(this.#often(0.5) ? { correlationData: this.#pick(correlations) } : {}),
      ...(this.#often(0.3) ? { messageExpiryInterval: this.#pick(expiries) } : {}),
      ...(this.#often(0.5) ? { userProperties: user } : {}),
    };
  }

  #payload(): Buffer {
    switch (this.#below(12)) {
      case 0:
        return this.#bytes(this.#below(200));
      case 1:
      case 2:
        return this.#flipped(Buffer.from(this.#request()));
      case 3:
        return Buffer.from(JSON.stringify(this.#value(3)));
      case 4:
        return Buffer.from(this.#request().replace(/(?<=:)\d+/, this.#pick(strangeWords)));
      case 5:
        return Buffer.from(this.#pick(strangeTexts));
      case 6:
        return Buffer.concat([Buffer.from('{"prompt":"'), this.#bytes(20), Buffer.from('"}')]);
      case 7:
        return Buffer.from(this.#often(0.05) ? this.#nested() : `{"id":"id-${this.#below(1e9)}"}`);
      default:
        return Buffer.from(this.#request());
    }
  }

  /**
   * A request with some members right, some wrong, and some that do not exist. Written as text, so that
   * `__proto__` and names that come twice are in it as a requester may send them.
   */
  #request(): string {
    const written = this.#often(0.6) ? ['"prompt":"hi"'] : [];
    if (this.#often(0.3)) written.push(`"id":${JSON.stringify(this.#id())}`);
    for (let count = this.#below(5); count > 0; count--) {
      const name = this.#pick(names);
      const value = this.#often(0.75) ? this.#pick(members[name] ?? []) : this.#value(2);
      written.push(`"${name}":${JSON.stringify(value)}`);
    }
    if (this.#often(0.15))
      written.push(`${JSON.stringify(this.#pick(strangeTexts))}:${JSON.stringify(this.#value(1))}`);
    return `{${written.join(',')}}`;
  }

  /** One that nobody has had, or none: an id that comes again is not answered again. */
  #id(): unknown {
    return this.#often(0.8) ? `fuzz-${this.#below(1e9)}` : this.#pick([...strangeIds, ...strangeNumbers]);
  }

  #value(depth: number): unknown {
    switch (this.#below(depth > 0 ? 7 : 4)) {
      case 0:
        return this.#pick(strangeTexts);
      case 1:
        return this.#pick(strangeNumbers);
      case 2:
        return this.#pick([null, true, false]);
      case 3:
        return this.#pick(plausible);
      case 4:
        return Array.from({ length: this.#below(this.#often(0.1) ? 70 : 4) }, () => this.#value(0));
      case 5:
        return [{ role: this.#pick(['user', 'system', 'tool']), content: this.#value(depth - 1) }];
      default:
        return Object.fromEntries([0, 1].map(() => [this.#pick(strangeTexts), this.#value(depth - 1)]));
    }
  }

  /** Nesting deeper than any stack, somewhere in a request. */
  #nested(): string {
    const depth = this.#often(0.1) ? 60_000 : this.#pick([10, 100, 1000]);
    const deep = this.#often(0.5)
      ? `${'['.repeat(depth)}${']'.repeat(depth)}`
      : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    const name = this.#pick(['metadata', 'messages', 'prompt', 'stop', 'other']);
    return name === 'metadata' ? `{"prompt":"x","metadata":{"a":${deep}}}` : `{"${name}":${deep}}`;
  }

  #flipped(bytes: Buffer): Buffer {
    for (let flips = 1 + this.#below(4); flips > 0 && bytes.length > 0; flips--)
      bytes[this.#below(bytes.length)] = this.#below(256);
    return bytes.subarray(0, this.#often(0.3) ? this.#below(bytes.length) : bytes.length);
  }

  #bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#below(256);
    return bytes;
  }

  #often(share: number): boolean {
    return this.#random() < share;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)] as T;
  }
}
