import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

/**
 * Whether the kernel bounds memory by cgroup: Raspberry Pi OS boots with it disabled. Null where the
 * kernel does not say.
 *
 * @param root stands before every path, so that tests can show it any system
 */
export function memoryCgroup(root = '/'): boolean | null {
  // cgroup v2 lists what is on; v1 has a table with a column that says so.
  const v2 = readText(join(root, 'sys/fs/cgroup/cgroup.controllers'));
  if (v2 !== null) return v2.trim().split(' ').includes('memory');
  const v1 = /^memory\s+\d+\s+\d+\s+(\d)$/m.exec(readText(join(root, 'proc/cgroups')) ?? '');
  return v1 === null ? null : v1[1] === '1';
}

/** Whether the kernel's clock follows a time source; null without systemd, which is who knows. */
export async function clockSynchronised(): Promise<boolean | null> {
  try {
    const { stdout } = await promisify(execFile)('timedatectl', ['show', '-p', 'NTPSynchronized', '--value']);
    const answer = stdout.trim();
    return answer === 'yes' ? true : answer === 'no' ? false : null;
  } catch {
    return null;
  }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
