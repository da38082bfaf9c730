import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Answer, PeerOptions } from './peer.ts';
import type { Memory, Opened, Reply, Task } from './worker.ts';

/** A peer in a process of its own, asked over its channel. One question at a time. */
export class PeerProcess {
  readonly name: string;
  readonly opened: Opened;
  readonly #child: ChildProcess;

  /** @throws what the peer said when it could not be opened */
  static async open(name: string, options: PeerOptions): Promise<PeerProcess> {
    const child = fork(join(import.meta.dirname, 'worker.ts'), [name, JSON.stringify(options)], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    try {
      return new PeerProcess(name, child, (await replyOf(child)) as Opened);
    } catch (thrown) {
      child.kill();
      throw thrown;
    }
  }

  private constructor(name: string, child: ChildProcess, opened: Opened) {
    this.name = name;
    this.#child = child;
    this.opened = opened;
  }

  answer(prompt: number[], tokens: number, cached = false): Promise<Answer> {
    return this.#do({ do: 'answer', prompt, tokens, cached }) as Promise<Answer>;
  }

  cancel(prompt: number[], afterMs: number): Promise<number> {
    return this.#do({ do: 'cancel', prompt, afterMs }) as Promise<number>;
  }

  together(prompts: number[][], tokens: number): Promise<number> {
    return this.#do({ do: 'together', prompts, tokens }) as Promise<number>;
  }

  memory(): Promise<Memory> {
    return this.#do({ do: 'memory' }) as Promise<Memory>;
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }

  #do(task: Task): Promise<unknown> {
    this.#child.send(task);
    return replyOf(this.#child);
  }
}

/** The next reply; it rejects with the error that it carries, or with the last line of a process that died. */
async function replyOf(child: ChildProcess): Promise<unknown> {
  let said = '';
  const listen = (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-2000);
  };
  child.stderr?.on('data', listen);
  const waiting = new AbortController();
  const { signal } = waiting;
  try {
    const [reply] = (await Promise.race([
      once(child, 'message', { signal }),
      once(child, 'exit', { signal }).then(([code, by]: unknown[]) => {
        throw new Error(said.trim().split('\n').at(-1) || `it ended with ${code ?? by}`);
      }),
    ])) as [Reply];
    if ('error' in reply) throw new Error(reply.error);
    return reply.ok;
  } finally {
    waiting.abort();
    child.stderr?.off('data', listen);
  }
}
