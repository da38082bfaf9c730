import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { SlmdError } from '../lib/errors.ts';

/**
 * Makes this process the only one that writes a journal: two would each believe their own half.
 *
 * The lock is a file that holds a process's number and the boot of the machine it was made in, so that
 * one left behind by a kill or by a power cut is seen through.
 *
 * @returns what gives the lock back
 * @throws SlmdError `journal_in_use`
 */
export function lockDirectory(dir: string, bootId: string): () => void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const file = join(dir, 'lock');
  for (;;) {
    try {
      makeLock(file, `${process.pid} ${bootId}\n`);
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = livingHolder(file, bootId);
      if (holder !== null)
        throw new SlmdError(
          'journal_in_use',
          `another slmd (process ${holder}) uses ${dir}: stop it, or give this one another journal.dir`,
        );
      rmSync(file, { force: true });
    }
  }
}

/** A full disk makes a file and does not fill it: then there is no lock. */
function makeLock(file: string, holder: string): void {
  const fd = openSync(file, 'wx', 0o600);
  try {
    writeSync(fd, holder);
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

function livingHolder(file: string, bootId: string): number | null {
  const [pid, boot] = readFileSync(file, 'utf8').trim().split(' ');
  if (boot !== bootId || Number(pid) === process.pid) return null;
  try {
    process.kill(Number(pid), 0);
    return Number(pid);
  } catch (error) {
    // A process of another user is alive too.
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? Number(pid) : null;
  }
}
