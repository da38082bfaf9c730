import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Settings } from './environment.ts';

/** What a board says of itself, as far as profiles ask. */
export interface BoardTraits {
  model: string | null;
  arch: string;
}

const profileSchema = z.strictObject({
  /** For people who read the file. */
  title: z.string(),
  match: z.strictObject({
    /** A part of the device tree's model name. */
    model: z.string().optional(),
    arch: z.string().optional(),
  }),
  /** Settings as in the configuration file; the file and the environment come after and win. */
  config: z.record(z.string(), z.unknown()),
});

export interface Profile {
  name: string;
  settings: Settings;
}

/**
 * The profile of a board: the named one, or with `auto` the one that matches most closely, a model
 * name before an architecture. Null where none matches.
 *
 * @throws when a named profile does not exist, or a profile is not one
 */
export function chooseProfile(dir: string, wanted: string, board: BoardTraits): Profile | null {
  const files = readdirSync(dir).filter((file) => file.endsWith('.yaml'));
  if (wanted !== 'auto') {
    if (!files.includes(`${wanted}.yaml`))
      throw new Error(
        `no profile ${wanted}; there are ${files.map((file) => basename(file, '.yaml')).join(', ')}`,
      );
    return read(dir, `${wanted}.yaml`).profile;
  }
  const matching = files
    .map((file) => read(dir, file))
    .filter(({ match }) => fits(match, board))
    .sort((a, b) => specificity(b.match) - specificity(a.match));
  return matching[0]?.profile ?? null;
}

type Match = z.infer<typeof profileSchema>['match'];

function read(dir: string, file: string): { match: Match; profile: Profile } {
  const { match, config } = profileSchema.parse(parse(readFileSync(join(dir, file), 'utf8')));
  return { match, profile: { name: basename(file, '.yaml'), settings: config } };
}

function fits(match: Match, board: BoardTraits): boolean {
  if (match.arch !== undefined && match.arch !== board.arch) return false;
  return match.model === undefined || (board.model ?? '').includes(match.model);
}

function specificity(match: Match): number {
  return (match.model?.length ?? 0) * 10 + (match.arch === undefined ? 0 : 1);
}
