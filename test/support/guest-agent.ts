import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { Heard, inTime, until } from './wait.ts';

interface Answer {
  return?: unknown;
  error?: { desc: string };
}

export interface Outcome {
  status: number | undefined;
  output: string;
}

/**
 * QEMU's guest agent: runs programs in a guest as root, over a serial line and not the network.
 * Source: QEMU Guest Agent Protocol Reference.
 */
export class GuestAgent {
  readonly #answers = new Heard<Answer>();
  readonly #socket: Socket;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let rest = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#answers.push(JSON.parse(line) as Answer);
    });
    socket.on('error', () => undefined);
  }

  /** Waits for the agent, which the guest starts late. */
  static async reach(path: string, ms: number): Promise<GuestAgent> {
    await until(() => existsSync(path) || undefined, 'QEMU listens for whoever asks its guest', ms);
    const socket = connect(path);
    await once(socket, 'connect');
    const agent = new GuestAgent(socket);
    // Sent to a line that nobody reads yet, it lies there until somebody does.
    await agent.#ask('guest-sync', { id: 1 }, ms);
    return agent;
  }

  async run(command: readonly string[], ms: number): Promise<Outcome> {
    const [path = '', ...arg] = command;
    const started = await this.#ask('guest-exec', { path, arg, 'capture-output': true }, ms);
    const { pid } = started as { pid: number };
    const end = performance.now() + ms;
    while (performance.now() < end) {
      const status = (await this.#ask('guest-exec-status', { pid }, ms)) as ExecStatus;
      if (status.exited) {
        const text = [status['out-data'], status['err-data']].map((data) =>
          Buffer.from(data ?? '', 'base64'),
        );
        return { status: status.exitcode, output: Buffer.concat(text).toString() };
      }
      await pause(200);
    }
    throw new Error(`not within ${ms} ms: ${command.join(' ')}`);
  }

  /** The agent answers nothing to this. */
  powerOff(): void {
    this.#send('guest-shutdown', { mode: 'powerdown' });
  }

  close(): void {
    this.#socket.destroy();
  }

  async #ask(execute: string, args: object, ms: number): Promise<unknown> {
    const since = this.#answers.mark;
    this.#send(execute, args);
    const answer = await inTime(
      this.#answers.find(() => true, execute, { since, ms }),
      `the guest's agent answers to ${execute}`,
      ms,
    );
    if (answer.error !== undefined) throw new Error(`${execute}: ${answer.error.desc}`);
    return answer.return;
  }

  #send(execute: string, args: object): void {
    this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
  }
}

interface ExecStatus {
  exited: boolean;
  exitcode?: number;
  'out-data'?: string;
  'err-data'?: string;
}
