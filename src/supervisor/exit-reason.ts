export type ExitCode = 'engine_crashed' | 'out_of_memory';

/** Why an engine process ended that nobody had asked to end. */
export interface ExitReason {
  code: ExitCode;
  /** For the log and the status, which everybody may read. */
  message: string;
  /** With the last words of the process, for whoever's prompt it was working on. */
  detail: string;
}

/** So many lines at the end say what went wrong; before them may be all of a core dump. */
const lastLines = 3;
const lastWordsMax = 300;
/** What a runtime prints after it has said what was wrong. */
const noise = /^\s*(at .*|\^+|Node\.js v.*)?$/;

const memoryWords =
  /(heap|process|JavaScript) out of memory|bad_alloc|Failed to allocate memory|Cannot allocate memory/i;

/**
 * Tells a crash from the want of memory: by what the process said last, or by a SIGKILL while the
 * kernel counted a kill for want of memory since the process began.
 *
 * @param prompted whether the process had been given a prompt: from then on its last words may quote one,
 *   and are for that requester alone
 */
export function exitReason(
  exit: { code: number | null; signal: string | null },
  stderrTail: string,
  oomKills: { before: number | null; after: number | null },
  prompted: boolean,
): ExitReason {
  const killed = exit.signal === 'SIGKILL' && (oomKills.after ?? 0) > (oomKills.before ?? 0);
  if (killed || memoryWords.test(stderrTail)) {
    const message = 'the engine process ran out of memory';
    return { code: 'out_of_memory', message, detail: message };
  }
  const how = exit.signal === null ? `exit code ${exit.code}` : exit.signal;
  const message = `the engine process ended with ${how}`;
  const last = lastWords(stderrTail);
  const detail = last === '' ? message : `${message}: ${last}`;
  return { code: 'engine_crashed', message: prompted ? message : detail, detail };
}

/** The last lines that say anything, as one line. */
function lastWords(stderrTail: string): string {
  const lines = stderrTail.split('\n').filter((line) => !noise.test(line));
  const words = lines
    .slice(-lastLines)
    .map((line) => line.trim())
    .join(' | ');
  return words.slice(-lastWordsMax);
}
