import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { commandMissing } from './mosquitto.ts';
import { patienceMs } from './wait.ts';

/** Why nothing can be traced here, or false. With CI=true it throws instead. */
export function straceMissing(): string | false {
  const missing = commandMissing('strace', ['-V']);
  if (missing !== false) return missing;
  if (spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0) return false;
  if (process.env.CI === 'true') throw new Error('strace may not trace here, and with CI=true it must');
  return 'strace may not trace processes here';
}

/** A command line before which a program is traced, with all its children; the program stays the child. */
export function tracing(file: string): string[] {
  const calls = 'trace=connect,sendto,sendmsg,sendmmsg';
  return ['strace', '-D', '-f', '--seccomp-bpf', '-q', '-e', calls, '-e', 'signal=none', '-o', file];
}

/** Whom a traced program contacted, in order: `inet 127.0.0.1:1883`, `unix /run/…`, … */
export async function contacts(file: string, pid: number): Promise<string[]> {
  const lines = await untilExited(file, pid);
  return lines.flatMap((line) => {
    const address = /\{sa_family=AF_(\w+)(.*?)\}/.exec(line);
    if (address === null) return [];
    const [, family = '', rest = ''] = address;
    const host = /inet_addr\("([^"]+)"\)|"([^"]*)"/.exec(rest);
    const port = /htons\((\d+)\)/.exec(rest)?.[1];
    return [
      `${family.toLowerCase()} ${host?.[1] ?? host?.[2] ?? rest}${port === undefined ? '' : `:${port}`}`,
    ];
  });
}

/** The tracer writes its last lines after the program's end: they are awaited. */
async function untilExited(file: string, pid: number): Promise<string[]> {
  const end = performance.now() + patienceMs;
  while (performance.now() < end) {
    const lines = readFileSync(file, 'utf8').split('\n');
    if (lines.some((line) => new RegExp(`^${pid} +\\+\\+\\+ `).test(line))) return lines;
    await pause(20);
  }
  throw new Error(`the trace of process ${pid} does not end`);
}
