import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';

/** Beside pulled files: where they are from, and what they were when they came. */
export const sourceFile = 'slmd-source.json';

const sourceSchema = z.object({
  format: z.literal(1),
  mirror: z.string(),
  repo: z.string(),
  /** What was asked for: a branch, a tag, a commit. */
  revision: z.string(),
  /** The commit that it was, where the mirror says so. */
  commit: z.string().nullable(),
  files: z.record(
    z.string(),
    z.object({
      sha256: z.string(),
      bytes: z.number().int().nonnegative(),
      /** Whether the mirror said what its hash is. */
      vouched: z.boolean(),
    }),
  ),
});

export type Source = z.infer<typeof sourceSchema>;

/** Null for a directory that was not pulled, or whose record cannot be read. */
export async function readSource(dir: string): Promise<Source | null> {
  try {
    return sourceSchema.parse(JSON.parse(await readFile(join(dir, sourceFile), 'utf8')));
  } catch {
    return null;
  }
}
