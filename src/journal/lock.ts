import { closeSync, mkdirSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SlmdError } from '../lib/errors.ts';

/**
 * Makes this process the only one that writes a journal: two would each believe their own half.
 *
 * The lock is a file that holds a process's number, the boot of the machine it was made in and when in it
 * the process began, so that one left behind by a kill or by a power cut is seen through, also where its
 * number has gone to another process since.
 *
 * @returns what gives the lock back
 * @throws SlmdError `journal_in_use`
 */
export function lockDirectory(dir: string, bootId: string): () => void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const file = join(dir, 'lock');
  for (;;) {
    try {
      makeLock(file, `${process.pid} ${bootId} ${beganAt(process.pid) ?? ''}\n`);
      return () => remove(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = livingHolder(file, bootId);
      if (holder !== null)
        throw new SlmdError(
          'journal_in_use',
          `another slmd (process ${holder}) uses ${dir}: stop it, or give this one another journal.dir`,
        );
      remove(file);
    }
  }
}

/** A full disk makes a file and does not fill it: then there is no lock. */
function makeLock(file: string, holder: string): void {
  const fd = openSync(file, 'wx', 0o600);
  try {
    writeSync(fd, holder);
  } catch (error) {
    remove(file);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** `rmSync` says of a read-only disk that it is an unknown error. */
function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function livingHolder(file: string, bootId: string): number | null {
  const [pid, boot, began] = readFileSync(file, 'utf8').trim().split(' ');
  if (boot !== bootId || Number(pid) === process.pid) return null;
  const beganNow = beganAt(Number(pid));
  if (began !== undefined && beganNow !== null && began !== beganNow) return null;
  try {
    process.kill(Number(pid), 0);
    return Number(pid);
  } catch (error) {
    // A process of another user is alive too.
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? Number(pid) : null;
  }
}

/** When a process began, in the kernel's ticks since boot; null where nobody says. Source: proc_pid_stat(5), field 22. */
function beganAt(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is a name in brackets, which may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}
