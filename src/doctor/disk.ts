import { randomBytes } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { monotonicMs } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

/** A record of the journal, about. */
const recordBytes = 500;
const writes = 50;
/** Each prompt waits for this twice: before its acknowledgement and before its result. */
const slowMs = 50;

/** How long a journal record takes to be on disk, in `dir`, which is made if it is not there. */
export async function diskFinding(dir: string): Promise<Finding> {
  const file = join(dir, `doctor-${randomBytes(4).toString('hex')}`);
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    try {
      return latencyFinding(await syncLatencies(file));
    } finally {
      await rm(file, { force: true });
    }
  } catch (error) {
    return problem(
      'disk',
      `the journal cannot be written in ${dir}: ${messageOf(error)}`,
      'make room, or set journal.dir to where this user may write',
    );
  }
}

/** Milliseconds of each write with its fdatasync, in no order. */
async function syncLatencies(file: string): Promise<number[]> {
  const handle = await open(file, 'w', 0o600);
  const record = Buffer.alloc(recordBytes, 'x');
  const latencies: number[] = [];
  try {
    for (let i = 0; i < writes; i++) {
      const start = monotonicMs();
      await handle.write(record);
      await handle.datasync();
      latencies.push(monotonicMs() - start);
    }
  } finally {
    await handle.close();
  }
  return latencies;
}

/** @param latencies in ms, at least one */
export function latencyFinding(latencies: readonly number[]): Finding {
  const sorted = [...latencies].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  const line = `a journal record is on disk after ${at(0.5).toFixed(1)} ms, ${at(1).toFixed(1)} ms at worst`;
  return at(0.5) > slowMs
    ? warning('disk', line, 'a card of application class A2, or a disk, answers faster')
    : ok('disk', line);
}
