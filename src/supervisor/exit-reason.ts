import { readFileSync } from 'node:fs';

export type ExitCode = 'engine_crashed' | 'out_of_memory';

/** Why an engine process ended that nobody had asked to end. */
export interface ExitReason {
  code: ExitCode;
  message: string;
}

const memoryWords = /heap out of memory|bad_alloc|Failed to allocate memory|Cannot allocate memory/i;

/**
 * Tells a crash from the want of memory: by what the process said last, or by a SIGKILL while the
 * kernel counted an out-of-memory kill since the process began.
 */
export function exitReason(
  exit: { code: number | null; signal: string | null },
  stderrTail: string,
  oomKills: { before: number | null; after: number | null },
): ExitReason {
  const killed = exit.signal === 'SIGKILL' && (oomKills.after ?? 0) > (oomKills.before ?? 0);
  if (killed || memoryWords.test(stderrTail))
    return { code: 'out_of_memory', message: 'the engine process ran out of memory' };
  const how = exit.signal === null ? `exit code ${exit.code}` : exit.signal;
  const last = stderrTail.trim().split('\n').at(-1)?.trim() ?? '';
  return {
    code: 'engine_crashed',
    message: `the engine process ended with ${how}${last === '' ? '' : `: ${last.slice(0, 200)}`}`,
  };
}

/** Processes that the kernel has killed for memory since boot; null where it does not say. */
export function oomKillCount(): number | null {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1] ?? Number.NaN) || 0;
  } catch {
    return null;
  }
}
