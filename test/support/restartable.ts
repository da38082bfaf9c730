import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** A process that tests end and start again. */
export interface Restartable {
  /** Starts it again, after `kill`. */
  start(): Promise<void>;
  /** Ends it, and resolves when it has; one that is not there is no trouble. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Sends it a signal that does not end it. */
  tell(signal: NodeJS.Signals): void;
}

/** @param listening resolves when a process that was spawned can be used */
export function restartable(
  spawn: () => ChildProcess,
  listening: (process: ChildProcess) => Promise<void>,
): Restartable {
  let running: ChildProcess | null = null;
  return {
    start: async () => {
      running = spawn();
      await listening(running);
    },
    kill: async (signal) => {
      if (running !== null && running.exitCode === null && running.signalCode === null) {
        const exited = once(running, 'exit');
        running.kill(signal);
        await exited;
      }
      running = null;
    },
    tell: (signal) => void running?.kill(signal),
  };
}
