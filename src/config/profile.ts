import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseDocument } from 'yaml';
import * as z from 'zod';
import type { Info } from '../contract/status.ts';
import type { Problem, Settings } from './environment.ts';

/** What a board says of itself, as far as profiles ask. */
export interface BoardTraits {
  model: string | null;
  arch: string;
}

/** A number with where it is from; null and "not measured" where nobody has. */
const source = z.string().min(1);
const known = z.number().positive().nullable();

const profileSchema = z.strictObject({
  /** For people who read the file. */
  title: z.string().min(1),
  match: z.strictObject({
    /** Parts of the device tree's model name; one is enough. */
    model: z.array(z.string().min(1)).min(1).optional(),
    arch: z.string().optional(),
  }),
  /** Facts about the board, null where it is not one board but a kind of them. A profile of settings alone has none. */
  hardware: z
    .strictObject({
      soc: z.string().nullable(),
      core: z.string().nullable(),
      cores: z.int().positive().nullable(),
      /** Whether int8 dot products are there: without, ONNX Runtime computes int4 in float32. */
      dot_product: z.boolean().nullable(),
      memory_mb: z.strictObject({ min: z.int().positive(), max: z.int().positive().nullable() }),
      memory_bandwidth: z.strictObject({ gigabytes_per_second: known, source }),
    })
    .optional(),
  expected: z
    .array(z.strictObject({ model: z.string().min(1), decode_tokens_per_second: known, source }))
    .default([]),
  /** Settings as in the configuration file; the file and the environment come after and win. */
  config: z.record(z.string(), z.unknown()),
});

/** A file of `devices/`: data about a kind of board, and the settings that suit it. */
export type Profile = Omit<z.output<typeof profileSchema>, 'config'> & { name: string; settings: Settings };

export interface ChosenProfile {
  /** Null where none matches, or there are problems. */
  profile: Profile | null;
  chosen_by: Info['board']['profile_chosen_by'];
  problems: Problem[];
}

/**
 * The profile of a board: the named one, or with `auto` the one that matches most closely, a model
 * name before an architecture. A file that is not a profile is a problem, whichever board this is.
 */
export function chooseProfile(dir: string, wanted: string, board: BoardTraits): ChosenProfile {
  const files = readdirSync(dir).filter((file) => file.endsWith('.yaml'));
  if (wanted !== 'auto' && !files.includes(`${wanted}.yaml`)) {
    const names = files.map((file) => basename(file, '.yaml')).join(', ');
    const message = `there is no profile ${wanted}; there are ${names}`;
    return {
      profile: null,
      chosen_by: 'none',
      problems: [{ source: 'device profile', path: 'profile', message }],
    };
  }
  const problems: Problem[] = [];
  const profiles = files
    .filter((file) => wanted === 'auto' || file === `${wanted}.yaml`)
    .flatMap((file) => readProfile(join(dir, file), problems) ?? [])
    .filter(({ match }) => wanted !== 'auto' || fits(match, board))
    .sort((a, b) => closeness(b.match, board) - closeness(a.match, board));
  const profile = problems.length > 0 ? null : (profiles[0] ?? null);
  return { profile, chosen_by: choice(profile, wanted, board), problems };
}

function choice(profile: Profile | null, wanted: string, board: BoardTraits): ChosenProfile['chosen_by'] {
  if (profile === null) return 'none';
  if (wanted !== 'auto') return 'setting';
  return longestMatch(profile.match, board) > 0 ? 'model' : 'architecture';
}

function readProfile(path: string, problems: Problem[]): Profile | null {
  const file = `devices/${basename(path)}`;
  const document = parseDocument(readFileSync(path, 'utf8'));
  const parsed = profileSchema.safeParse(document.errors.length > 0 ? null : document.toJS());
  for (const { path, message } of document.errors.length > 0 ? document.errors.map(lineOf) : issuesOf(parsed))
    problems.push({ source: file, path, message });
  if (!parsed.success) return null;
  const { config, ...data } = parsed.data;
  return { name: basename(path, '.yaml'), settings: config, ...data };
}

type Finding = Pick<Problem, 'path' | 'message'>;

function lineOf({ message }: { message: string }): Finding {
  return { path: '', message: message.split('\n')[0] ?? 'is not YAML' };
}

function issuesOf({ error }: { error?: z.ZodError | undefined }): Finding[] {
  return (error?.issues ?? []).map(({ path, message }) => ({ path: path.map(String).join('.'), message }));
}

type Match = Profile['match'];

function fits(match: Match, board: BoardTraits): boolean {
  if (match.arch !== undefined && match.arch !== board.arch) return false;
  return match.model === undefined || longestMatch(match, board) > 0;
}

function closeness(match: Match, board: BoardTraits): number {
  return longestMatch(match, board) * 10 + (match.arch === undefined ? 0 : 1);
}

function longestMatch({ model = [] }: Match, board: BoardTraits): number {
  return Math.max(0, ...model.filter((part) => board.model?.includes(part)).map((part) => part.length));
}
