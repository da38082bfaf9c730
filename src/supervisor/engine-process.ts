import { type ChildProcess, fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { parseFromEngine } from '../ipc/from-engine.ts';
import type { FromEngine, ToEngine } from '../ipc/messages.ts';
import { oomKillsOfService } from '../lib/oom-kills.ts';
import { type ExitReason, exitReason } from './exit-reason.ts';

export interface EngineProcessEvents {
  message(message: FromEngine): void;
  /** A line that the engine itself wrote to stderr. */
  said(line: string): void;
  /** A message that is not part of the protocol. */
  garbage(): void;
  /** Once, after the last message. */
  exit(reason: ExitReason): void;
}

/** Enough for a native stack's last words, not for a prompt's worth of output. */
const stderrTailBytes = 4096;
/** An engine that computes without a break does not hear SIGTERM; nobody is served meanwhile. */
const killAfterMs = 3000;

/** One engine process, from fork to exit. */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #stderr = '';
  #prompted = false;

  constructor(entry: string, events: EngineProcessEvents) {
    const oomKills = oomKillsOfService();
    const before = oomKills();
    this.#child = fork(entry, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: engineEnvironment(),
      execArgv: nodeArguments,
    });
    if (this.#child.pid !== undefined) offerToMemoryKiller(this.#child.pid);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-stderrTailBytes);
      // The engine's own lines quote nothing of a prompt; what a library prints may.
      for (const [line] of text.matchAll(/^slmd engine: .*$/gm)) events.said(line);
    });
    this.#child.on('message', (raw) => {
      const message = parseFromEngine(raw);
      if (message === null) events.garbage();
      else events.message(message);
    });
    this.#exited = new Promise((resolve) => {
      const ended = (code: number | null, signal: string | null) => {
        const kills = { before, after: oomKills() };
        events.exit(exitReason({ code, signal }, this.#stderr, kills, this.#prompted));
        resolve();
      };
      // `close` follows `exit` once stderr has been read to its end: the last words count.
      this.#child.on('close', ended);
      this.#child.on('error', (error) => {
        this.#stderr += error.message;
        if (this.#child.pid === undefined) ended(null, null);
      });
    });
  }

  get pid(): number | null {
    return this.#child.pid ?? null;
  }

  /** What an engine that is gone does not hear is lost; its exit is reported anyway. */
  send(message: ToEngine): void {
    if (message.type === 'generate') {
      this.#prompted = true;
      // What was said during another prompt must not be quoted to this one's requester.
      this.#stderr = '';
    }
    if (this.#child.connected) this.#child.send(message, () => undefined);
  }

  /** SIGTERM, so that it can leave in good order; then SIGKILL, which even a process that is stopped hears. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), killAfterMs);
    await this.#exited;
    clearTimeout(timer);
  }
}

/**
 * Where memory runs out, the kernel takes the engine and not the daemon, which can say what happened. It is
 * said for it, before its first line runs: an engine that still loads is smaller than the daemon. A kernel
 * that has no such file decides by size.
 */
function offerToMemoryKiller(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(oomScoreAdjust));
  } catch {}
}

/** Half of the memory that a process may use is added to its size when the kernel compares. */
const oomScoreAdjust = 500;

/**
 * The engine's own memory is small beside the model's and is to stay so: V8 would let what is young of its heap grow to
 * 32 MB, and frees of other threads would be kept apart for each. `gc` is for what a load leaves behind.
 */
export const nodeArguments = ['--expose-gc', '--max-semi-space-size=1'];
const mallocArenas = '1';

/** Only what Node needs: no credential of the daemon reaches the process that runs the model. */
function engineEnvironment(): NodeJS.ProcessEnv {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ', 'LD_LIBRARY_PATH'];
  const env: NodeJS.ProcessEnv = { ORT_DISABLE_TELEMETRY: '1', MALLOC_ARENA_MAX: mallocArenas };
  for (const name of kept) if (process.env[name] !== undefined) env[name] = process.env[name];
  return env;
}
