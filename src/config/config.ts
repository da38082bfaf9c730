import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { homedir, hostname } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseDocument } from 'yaml';
import { publicKeysOf } from '../lib/ed25519.ts';
import { messageOf, SlmdError } from '../lib/errors.ts';
import { readCredentials } from './credentials.ts';
import { type Problem, readEnvironment, type Settings, variableOf } from './environment.ts';
import { type BoardTraits, chooseProfile } from './profile.ts';
import { type ProfileInForce, profileInForce } from './profile-in-force.ts';
import { type Config, configSchema } from './schema.ts';
import { isMapping, isSet, merge } from './settings.ts';

export interface ConfigSources {
  /** A YAML file; null for none. */
  file: string | null;
  env: NodeJS.ProcessEnv;
  board: BoardTraits;
  profiles_dir: string;
}

export interface LoadedConfig {
  config: Config;
  profile: ProfileInForce;
}

/** Every problem of a configuration at once, one line each. */
export class ConfigError extends SlmdError<'config_invalid'> {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super('config_invalid', problems.map(lineOf).join('\n'));
    this.problems = problems;
  }
}

/**
 * Reads the configuration: defaults, then the device profile, then the service manager's credentials, then
 * the file, then the environment.
 *
 * @throws ConfigError with all problems of all sources
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const problems: Problem[] = [];
  const fromFile = sources.file === null ? {} : readFile(sources.file, problems);
  if (sources.file !== null) anchorPaths(fromFile, dirname(resolve(sources.file)));
  const fromEnv = readEnvironment(sources.env);
  problems.push(...fromEnv.problems);

  const wanted = fromEnv.settings.profile ?? fromFile.profile ?? 'auto';
  const chosen = chooseProfile(sources.profiles_dir, String(wanted), sources.board);
  problems.push(...chosen.problems);
  const over: Layer[] = [
    { settings: readCredentials(sources.env), source: () => 'credentials' },
    { settings: fromFile, source: () => sources.file ?? '' },
    { settings: fromEnv.settings, source: variableOf },
  ];
  const layers = [{ settings: chosen.profile?.settings ?? {}, source: () => 'device profile' }, ...over];
  const parsed = configSchema.safeParse(layers.map(({ settings }) => settings).reduce(merge, {}));
  for (const issue of parsed.error?.issues ?? []) problems.push(...problemsOf(issue, layers));
  if (!parsed.success || problems.length > 0) throw new ConfigError(problems);

  const device = parsed.data.device ?? deviceFromHost();
  const { mqtt, model, engine, journal, topic_prefix } = parsed.data;
  const config = structuredClone({
    ...parsed.data,
    device,
    mqtt: { ...mqtt, response_topics: mqtt.response_topics ?? [`${topic_prefix}/${device}/response/#`] },
    model: {
      ...model,
      store: model.store ?? modelStore(sources.env),
      trust: readTrust(model, problems),
    },
    engine: { ...engine, cache_dir: engine.cache_dir ?? cacheDirectory(sources.env, device) },
    journal: { ...journal, dir: journal.dir ?? stateDirectory(sources.env, device) },
  });
  checkFiles(config, problems);
  config.mqtt.password ??= readPassword(config.mqtt.password_file, problems);
  config.mqtt.username ??= config.mqtt.password === null ? null : config.device;
  if (problems.length > 0) throw new ConfigError(problems);
  return { config: freeze(config), profile: profileInForce(chosen, over) };
}

function readFile(file: string, problems: Problem[]): Settings {
  if (!existsSync(file)) {
    problems.push({ source: file, path: '', message: 'there is no such file' });
    return {};
  }
  try {
    const document = parseDocument(readFileSync(file, 'utf8'));
    // The first line alone: the lines after it repeat what is in the file, which may be a password.
    for (const error of document.errors)
      problems.push({ source: file, path: '', message: error.message.split('\n')[0] ?? 'is not YAML' });
    const settings: unknown = document.errors.length > 0 ? {} : (document.toJS() ?? {});
    // A section of which every line is commented out is null to YAML.
    if (isMapping(settings))
      return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null));
    problems.push({ source: file, path: '', message: 'must be a mapping of settings' });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why =
      code === undefined ? 'has an alias that leads nowhere, or too many' : `cannot be read (${code})`;
    problems.push({ source: file, path: '', message: why });
  }
  return {};
}

/** What the daemon will have to read, seen before it tries for ever. */
function checkFiles({ mqtt }: Pick<Config, 'mqtt'>, problems: Problem[]): void {
  const files = {
    'mqtt.ca_file': mqtt.ca_file,
    'mqtt.cert_file': mqtt.cert_file,
    'mqtt.key_file': mqtt.key_file,
  };
  for (const [path, file] of Object.entries(files)) {
    if (file === null) continue;
    try {
      accessSync(file, constants.R_OK);
    } catch {
      problems.push({ source: file, path, message: 'cannot be read' });
    }
  }
}

function readPassword(file: string | null, problems: Problem[]): string | null {
  if (file === null) return null;
  try {
    const password = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    if (password !== '') return password;
    problems.push({ source: file, path: 'mqtt.password_file', message: 'is empty' });
  } catch {
    problems.push({ source: file, path: 'mqtt.password_file', message: 'cannot be read' });
  }
  return null;
}

/** Read once, at start: a key that is exchanged meanwhile counts from the next start on. */
function readTrust(
  { public_key_file, require_signature }: Pick<Config['model'], 'public_key_file' | 'require_signature'>,
  problems: Problem[],
): Config['model']['trust'] {
  if (public_key_file === null) return null;
  try {
    const public_keys = readFileSync(public_key_file, 'utf8');
    publicKeysOf(public_keys);
    return { public_keys, required: require_signature ?? true };
  } catch (error) {
    const unread = (error as NodeJS.ErrnoException).syscall !== undefined;
    const message = unread ? 'cannot be read' : messageOf(error);
    problems.push({ source: public_key_file, path: 'model.public_key_file', message });
    return null;
  }
}

/** Settings of one source, and what that source calls a path. */
interface Layer {
  settings: Settings;
  source(path: PropertyKey[]): string;
}

function problemsOf(
  issue: { code: string; path: PropertyKey[]; message: string; keys?: string[] },
  layers: readonly Layer[],
): Problem[] {
  const sourceOf = (path: PropertyKey[]): string =>
    layers
      .findLast(({ settings }) => isSet(settings, path))
      ?.source(path.filter((name) => typeof name !== 'number')) ?? 'default';
  const problem = (path: PropertyKey[], message: string): Problem => ({
    source: sourceOf(path),
    path: path.map(String).join('.'),
    message,
  });
  if (issue.code !== 'unrecognized_keys') return [problem(issue.path, issue.message)];
  return (issue.keys ?? []).map((key) => problem([...issue.path, key], 'no setting has this name'));
}

/** Paths in a file are meant from where the file is. */
function anchorPaths(settings: Settings, base: string): void {
  const { mqtt, model, engine, journal } = settings;
  for (const section of [mqtt, model, engine, journal].filter(isMapping))
    for (const name of [
      'password_file',
      'ca_file',
      'cert_file',
      'key_file',
      'dir',
      'cache_dir',
      'store',
      'public_key_file',
    ]) {
      const path = section[name];
      if (typeof path === 'string' && path !== '') section[name] = resolve(base, path);
    }
}

/** Where a service manager says, else where a user's programs keep their state (XDG Base Directory). */
function stateDirectory(env: NodeJS.ProcessEnv, device: string): string {
  if (env.STATE_DIRECTORY) return env.STATE_DIRECTORY;
  return join(env.XDG_STATE_HOME || join(home(), '.local', 'state'), 'slmd', device);
}

/** The same for what may be lost. */
function cacheDirectory(env: NodeJS.ProcessEnv, device: string): string {
  if (env.CACHE_DIRECTORY) return env.CACHE_DIRECTORY;
  return join(env.XDG_CACHE_HOME || join(home(), '.cache'), 'slmd', device);
}

/** A user without a home is given one that nobody can write: what needs it then says so, by its path. */
function home(): string {
  try {
    return homedir();
  } catch {
    return '/nonexistent';
  }
}

/** Beside the journal of a service; of a user, where programs keep their data (XDG Base Directory). */
function modelStore(env: NodeJS.ProcessEnv): string {
  if (env.STATE_DIRECTORY) return join(env.STATE_DIRECTORY, 'models');
  return join(env.XDG_DATA_HOME || join(home(), '.local', 'share'), 'slmd', 'models');
}

function deviceFromHost(): string {
  const name = hostname().split('.')[0] ?? '';
  return (
    name
      .toLowerCase()
      .replaceAll(/[^a-z0-9_-]/g, '-')
      .replace(/^[^a-z0-9]+/, '')
      .slice(0, 63) || 'slmd'
  );
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) freeze(inner);
  return Object.freeze(value);
}

function lineOf({ source, path, message }: Problem): string {
  return [source, path, message].filter((part) => part !== '').join(': ');
}
