import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type {
  DoneMessage,
  EngineOptions,
  FailedMessage,
  FromEngine,
  GenerateMessage,
  LoadFailedMessage,
  ReadyMessage,
} from '../../src/ipc/messages.ts';
import { question } from '../../src/ipc/question.ts';

const entry = join(import.meta.dirname, '../../src/engine/main.ts');

export const engineOptions: EngineOptions = {
  backend: 'auto',
  threads: 1,
  rows: 1,
  speculation: true,
  prefill_chunk_tokens: 32,
  context_length_max: 256,
  max_tokens_default: null,
  prefixes: null,
};

/** A request for up to 40 tokens, greedy; `fields` replace what a test is about. */
export function request(
  content: string,
  fields: Partial<GenerateMessage> = {},
): Omit<GenerateMessage, 'key'> {
  return { type: 'generate', ...question(content, 40), ...fields };
}

/** The engine as the daemon runs it: a real child process behind a real IPC channel. */
export class ForkedEngine {
  readonly child: ChildProcess;
  /** Every message, in the order of arrival. */
  readonly messages: FromEngine[] = [];
  /** All that it wrote to its standard streams. */
  output = '';
  #lastKey = 0;
  #waiting: (() => void)[] = [];

  constructor(env: NodeJS.ProcessEnv = {}, base: NodeJS.ProcessEnv = process.env, file = entry) {
    this.child = fork(file, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...base, ...env },
      execArgv: [],
    });
    this.child.on('message', (message) => {
      this.messages.push(message as FromEngine);
      this.#wake();
    });
    this.child.on('exit', () => this.#wake());
    for (const stream of [this.child.stdout!, this.child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
  }

  static async loaded(modelDir: string, options: Partial<EngineOptions> = {}): Promise<ForkedEngine> {
    const engine = new ForkedEngine();
    const answer = await engine.load(modelDir, options);
    if (answer.type !== 'ready') throw new Error(answer.message);
    return engine;
  }

  load(modelDir: string, options: Partial<EngineOptions> = {}): Promise<ReadyMessage | LoadFailedMessage> {
    this.send({ type: 'load', model_dir: modelDir, options: { ...engineOptions, ...options } });
    return this.first((message) => message.type === 'ready' || message.type === 'load_failed') as Promise<
      ReadyMessage | LoadFailedMessage
    >;
  }

  send(message: unknown): void {
    this.child.send(message as object);
  }

  /** Sends a request under a new key, and returns the key. */
  start(message: Omit<GenerateMessage, 'key'>): number {
    const key = ++this.#lastKey;
    this.send({ ...message, key });
    return key;
  }

  /** How a generation ended. */
  end(key: number): Promise<DoneMessage | FailedMessage> {
    return this.first(
      (message) => (message.type === 'done' || message.type === 'failed') && message.key === key,
    ) as Promise<DoneMessage | FailedMessage>;
  }

  async run(message: Omit<GenerateMessage, 'key'>): Promise<DoneMessage> {
    const end = await this.end(this.start(message));
    if (end.type === 'failed') throw new Error(`${end.code}: ${end.message}`);
    return end;
  }

  of(key: number): FromEngine[] {
    return this.messages.filter((message) => 'key' in message && message.key === key);
  }

  /** The text of all tokens messages of a generation, piece by piece. */
  pieces(key: number): string[] {
    return this.of(key).flatMap((message) => (message.type === 'tokens' ? [message.text] : []));
  }

  /** Waits until a message matches, including those that are here already. */
  async first(matches: (message: FromEngine) => boolean): Promise<FromEngine> {
    for (;;) {
      const found = this.messages.find(matches);
      if (found !== undefined) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`the engine is gone: ${this.output}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Lets go of the channel and waits for the process to end by itself. @returns its exit code, or its signal */
  async stop(): Promise<number | NodeJS.Signals | null> {
    const how = () => this.child.exitCode ?? this.child.signalCode;
    if (how() !== null) return how();
    // Not `close`: Node does not emit it when it is the parent that lets go.
    const { stdout, stderr } = this.child;
    const ended = Promise.all([once(this.child, 'exit'), once(stdout!, 'close'), once(stderr!, 'close')]);
    if (this.child.connected) this.child.disconnect();
    await ended;
    return how();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
