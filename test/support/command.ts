import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { withoutSettings } from '../../src/config/environment.ts';
import { leash } from './leash.ts';

const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** `slmd …` as a process of its own that ends with the test, told nothing by this environment. */
export function startCommand(
  args: string[],
  env: NodeJS.ProcessEnv = {},
): { child: ChildProcess; ran: Promise<Ran> } {
  const [command = '', ...rest] = [...leash, process.execPath, main, ...args];
  const child = spawn(command, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...withoutSettings(), ...env },
  });
  const said = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said.stderr += text));
  const ran = once(child, 'close').then(([code]) => ({ code: code as number | null, ...said }));
  return { child, ran };
}
