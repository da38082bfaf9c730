import { randomNumbers } from './random.ts';

/** A payload and the topic that it goes to. */
export interface Malformed {
  topic: string;
  payload: Buffer;
}

const members: { [name: string]: unknown } = {
  id: 'fuzz',
  prompt: 'echo hello',
  messages: [{ role: 'user', content: 'echo hello' }],
  max_tokens: 16,
  temperature: 0.5,
  top_p: 0.9,
  top_k: 10,
  min_p: 0.05,
  repetition_penalty: 1.1,
  seed: 7,
  stop: ['x'],
  stream: true,
  response_format: { type: 'text' },
  deadline_ms: 60_000,
  priority: 'normal',
  metadata: { a: [1, { b: null }] },
};

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
  'x'.repeat(3000),
];
const strangeNumbers = [-1, -0, 0.1, 2 ** 31, 2 ** 53, 1e308, Number.MIN_VALUE];
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

/** Payloads that are wrong in many ways, and some that are right by chance: the same for the same seed. */
export class Fuzzer {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomNumbers(seed);
  }

  next(base: string): Malformed {
    const topics = [
      'prompt',
      'prompt',
      'prompt',
      'prompt',
      'prompt',
      'cancel',
      'ack',
      'probe',
      'prompt/x',
      'info/set',
    ];
    return { topic: `${base}/${this.#pick(topics)}`, payload: this.#payload() };
  }

  #payload(): Buffer {
    const ways = [
      () => this.#bytes(this.#below(200)),
      () => this.#flipped(Buffer.from(JSON.stringify(this.#request()))),
      () => this.#flipped(Buffer.from(JSON.stringify(this.#request()))),
      () => Buffer.from(JSON.stringify(this.#request())),
      () => Buffer.from(JSON.stringify(this.#request())),
      () => Buffer.from(JSON.stringify(this.#value(4))),
      () => Buffer.from(this.#nested()),
      () => Buffer.from(JSON.stringify(this.#request()).replace(/\d+/, this.#pick(strangeWords))),
      () => Buffer.from(this.#pick(strangeTexts)),
      () => Buffer.concat([Buffer.from('{"prompt":"'), this.#bytes(20), Buffer.from('"}')]),
    ];
    return this.#pick(ways)();
  }

  /** A request with some members right, some wrong and some that do not exist. */
  #request(): object {
    const request: { [name: string]: unknown } = {};
    for (const [name, value] of Object.entries(members))
      if (this.#random() < 0.25) request[name] = this.#random() < 0.7 ? value : this.#value(3);
    if (typeof request.id === 'string' && request.id === 'fuzz') request.id = `fuzz-${this.#below(1e9)}`;
    if (this.#random() < 0.2)
      Object.defineProperty(request, this.#pick(strangeTexts), { value: this.#value(2), enumerable: true });
    return request;
  }

  #value(depth: number): unknown {
    const ways: (() => unknown)[] = [
      () => this.#pick(strangeTexts),
      () => this.#pick(strangeNumbers),
      () => this.#pick([null, true, false]),
      () => this.#pick(Object.values(members)),
    ];
    if (depth > 0)
      ways.push(
        () => Array.from({ length: this.#below(70) }, () => this.#value(0)),
        () => Object.fromEntries([0, 1].map(() => [this.#pick(strangeTexts), this.#value(depth - 1)])),
      );
    return this.#pick(ways)();
  }

  /** Nesting deeper than any stack, somewhere in a request. */
  #nested(): string {
    const depth = this.#pick([10, 1000, 10_000, 60_000]);
    const deep =
      this.#random() < 0.5
        ? `${'['.repeat(depth)}${']'.repeat(depth)}`
        : `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    const name = this.#pick(['metadata', 'messages', 'prompt', 'stop', 'other']);
    return name === 'metadata' ? `{"prompt":"x","metadata":{"a":${deep}}}` : `{"${name}":${deep}}`;
  }

  #flipped(bytes: Buffer): Buffer {
    for (let flips = 1 + this.#below(4); flips > 0 && bytes.length > 0; flips--)
      bytes[this.#below(bytes.length)] = this.#below(256);
    return bytes.subarray(0, this.#random() < 0.3 ? this.#below(bytes.length) : bytes.length);
  }

  #bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.#below(256)));
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)] as T;
  }
}
