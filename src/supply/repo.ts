import { modelIdPattern } from '../model/manifest.ts';
import { SupplyError } from './errors.ts';

/** A repository on a mirror of the hub. */
export interface Repo {
  /** Without a slash at its end. */
  mirror: string;
  /** `owner/name`. */
  name: string;
  /** A branch, a tag or a commit. */
  revision: string;
  /** Whether this mirror may see the token: the one that is configured may, one in a URL may be anybody's. */
  trusted: boolean;
}

const part = '[A-Za-z0-9][A-Za-z0-9._-]{0,95}';
const repoPattern = new RegExp(`^${part}/${part}$`);
const revisionPattern = /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;

/**
 * Reads what a person typed: `owner/name`, or the address of a repository as a browser shows it.
 *
 * @param mirror where repositories are, unless the text is an address
 * @throws SupplyError `repo_invalid`
 */
export function parseRepo(text: string, mirror: string, revision?: string): Repo {
  const home = mirror.replace(/\/+$/, '');
  const url = /^https?:\/\//.test(text) ? parseUrl(text, home) : null;
  const name = url?.name ?? text;
  const wanted = revision ?? url?.revision ?? 'main';
  if (!repoPattern.test(name) || name.includes('..'))
    throw new SupplyError('repo_invalid', `${text} is neither owner/name nor the URL of a repository`);
  if (!revisionPattern.test(wanted))
    throw new SupplyError('repo_invalid', `${wanted} is no name of a branch, a tag or a commit`);
  return { mirror: url?.mirror ?? home, name, revision: wanted, trusted: (url?.mirror ?? home) === home };
}

/** `<mirror>/<owner>/<name>`, which may go on with `/tree/<revision>`. */
function parseUrl(text: string, home: string): { mirror: string; name: string; revision?: string } | null {
  if (!URL.canParse(text)) return null;
  const { origin, pathname } = new URL(text);
  const mirror = text.startsWith(`${home}/`) ? home : origin;
  const path = text.startsWith(`${home}/`)
    ? new URL(`http://h${text.slice(home.length)}`).pathname
    : pathname;
  const [owner, name, kind, ...rest] = path.split('/').filter((segment) => segment !== '');
  if (owner === undefined || name === undefined) return null;
  const [revision] = kind === 'tree' || kind === 'blob' || kind === 'resolve' ? rest : [];
  return { mirror, name: `${owner}/${name}`, ...(revision === undefined ? {} : { revision }) };
}

/** A name for the store: the repository's own, in the characters that a model's name may have. */
export function storeName({ name }: Repo, suffix: string | null): string {
  const own = name.split('/')[1]?.toLowerCase().slice(0, 50) ?? '';
  const whole = suffix === null || own.endsWith(`-${suffix}`) ? own : `${own}-${suffix}`;
  return modelIdPattern.test(whole) ? whole : 'model';
}
