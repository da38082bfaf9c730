import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { PromptRequest } from '../../src/contract/prompt.ts';
import { Journal, type JournalOptions } from '../../src/journal/journal.ts';
import { monotonicMs } from '../../src/lib/clock.ts';
import { promptRequest } from './prompts.ts';

export function promptOf(id: string, more: Partial<PromptRequest> = {}): PromptRequest {
  const messages = [{ role: 'user' as const, content: `prompt of ${id}` }];
  return promptRequest({ id, messages, received_at: monotonicMs(), bytes: 100, ...more });
}

export const noRouting = { reply_to: null, traceparent: null };

export function journalOptions(dir: string, more: Partial<JournalOptions> = {}): JournalOptions {
  return {
    dir,
    retention_ms: 3_600_000,
    finished_max: 1000,
    bytes_max: 10_000_000,
    retry: { min_ms: 1, max_ms: 5 },
    oomKills: () => 3,
    trouble: () => undefined,
    recovered: () => undefined,
    ...more,
  };
}

export function journalFile(dir: string): string {
  return join(dir, 'journal.log');
}

/** A started journal, stopped when the test ends, and what was found when it was read. */
export async function openJournal(
  t: TestContext,
  options: JournalOptions,
): Promise<Journal & { recovery: Recovery }> {
  const journal = new Journal(options);
  t.after(() => journal.stop());
  return Object.assign(journal, { recovery: await journal.start() });
}

export type Recovery = Awaited<ReturnType<Journal['start']>>;

/** Everything a journal knows, for comparison. */
export function stateOf(journal: Journal, ids: readonly string[]): unknown[] {
  return ids.map((id) => [id, journal.find(id)]);
}
