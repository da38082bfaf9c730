import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { leash } from './leash.ts';
import { commandMissing } from './mosquitto.ts';
import { Heard, until } from './wait.ts';

export interface NotifySocket {
  /** Every line that came, of all datagrams in their order. */
  lines: Heard<string>;
  stop(): Promise<void>;
}

/** Why tests with a socket of systemd's kind are skipped, or false. */
export function socatMissing(): string | false {
  return commandMissing('socat', ['-V']);
}

/** A Unix datagram socket where systemd has its own: at a path, or after an `@` in the abstract space. */
export async function startNotifySocket(address: string): Promise<NotifySocket> {
  const receive = address.startsWith('@') ? `ABSTRACT-RECV:${address.slice(1)}` : `UNIX-RECV:${address}`;
  const [command = '', ...args] = [...leash, 'socat', '-u', receive, 'STDOUT'];
  const socat = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = new Heard<string>();
  let rest = '';
  socat.stdout.setEncoding('utf8').on('data', (text: string) => {
    const whole = (rest + text).split('\n');
    rest = whole.pop() ?? '';
    for (const line of whole) lines.push(line);
  });
  const open = () =>
    readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .some((line) => line.endsWith(` ${address}`));
  await until(() => open() || undefined, `a socket at ${address}`);
  return {
    lines,
    stop: async () => {
      const exited = once(socat, 'exit');
      if (socat.exitCode === null && socat.signalCode === null && socat.kill('SIGKILL')) await exited;
    },
  };
}
