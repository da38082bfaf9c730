import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Reads how many processes the kernel has killed for want of memory; null where it does not say. */
export type OomKills = () => number | null;

/**
 * Kills among the processes of this service alone, by its control group: whoever else runs on the board may
 * be killed meanwhile. Where the kernel counts for no group, or this is in none, those of the whole machine.
 * The count goes with the group, and so with the service.
 *
 * Source: the kernel's admin-guide/cgroup-v2, memory.events.
 *
 * @param root stands before every path, so that tests can show it any system
 */
export function oomKillsOfService(root = '/'): OomKills {
  const [, group] = /^0::(\/.*)$/m.exec(textOf(join(root, 'proc/self/cgroup')) ?? '') ?? [];
  const events = group === undefined ? null : join(root, 'sys/fs/cgroup', group, 'memory.events');
  return events !== null && existsSync(events) ? () => countIn(events) : oomKillsOfMachine(root);
}

/** Kills on the whole machine since it booted: what is left to compare where a service has ended itself. */
export function oomKillsOfMachine(root = '/'): OomKills {
  return () => countIn(join(root, 'proc/vmstat'));
}

function countIn(file: string): number | null {
  const [, count] = /^oom_kill (\d+)$/m.exec(textOf(file) ?? '') ?? [];
  return count === undefined ? null : Number(count);
}

function textOf(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
