import { readFileSync } from 'node:fs';
import { decodeRecord, type JournalRecord } from '../../src/journal/record.ts';
import { journalFile } from './journal.ts';

/** What a journal's file says of an id since it was last forgotten. */
export interface Life {
  results: string[];
  /** When its content was fixed, on the monotonic clock. */
  fixed_at: number;
  delivered: boolean;
}

export function readLives(journalDir: string): Map<string, Life> {
  const lives = new Map<string, Life>();
  for (const line of readFileSync(journalFile(journalDir), 'utf8').split('\n')) {
    const record = decodeRecord(line);
    if (record !== null) apply(lives, record);
  }
  return lives;
}

function apply(lives: Map<string, Life>, record: JournalRecord): void {
  const { id } = record;
  const life = lives.get(id);
  if (record.kind === 'forgotten') lives.delete(id);
  if (record.kind === 'accepted') lives.set(id, { results: [], fixed_at: Infinity, delivered: false });
  if (record.kind === 'delivered' && life !== undefined) life.delivered = true;
  if (record.kind !== 'finished') return;
  // A log that was written anew begins with what is finished.
  const before = life ?? { results: [], fixed_at: Infinity, delivered: false };
  const fixed_at = Math.min(before.fixed_at, record.at.monotonic_ms);
  lives.set(id, { ...before, results: [...before.results, record.result], fixed_at });
}
