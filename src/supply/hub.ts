import * as z from 'zod';
import { filesMax } from '../model/layout.ts';
import { SupplyError } from './errors.ts';
import type { Http } from './http.ts';
import type { Repo } from './repo.ts';
import { type TransferLimits, withRetries } from './transfer-error.ts';
import { Watchdog } from './watchdog.ts';

export interface Hash {
  /** Git names a file by the SHA-1 of a header and its content. */
  kind: 'sha256' | 'git-sha1';
  hex: string;
}

export interface HubFile {
  /** Relative, with forward slashes, and nowhere but below the model's directory. */
  path: string;
  /** Null where the mirror does not say. */
  bytes: number | null;
  hash: Hash | null;
}

export interface Listing {
  commit: string | null;
  files: HubFile[];
}

/** Ten thousand files with their hashes take a fifth of it. */
const listingBytesMax = 16 * 1024 * 1024;
/** The hub gives a thousand files a page. */
const pagesMax = 100;

const commit = z.string().regex(/^[0-9a-f]{40,64}$/);
const infoSchema = z.object({
  sha: commit.nullish(),
  siblings: z.array(z.object({ rfilename: z.string() })),
});
const treeSchema = z.array(
  z.object({
    type: z.string(),
    path: z.string(),
    size: z.number().int().nonnegative().optional(),
    oid: z.string().optional(),
    lfs: z.object({ oid: z.string(), size: z.number().int().nonnegative() }).nullish(),
  }),
);

/** What a mirror of the hub says of a repository, and where its files are. */
export class Hub {
  readonly #http: Http;
  readonly #limits: TransferLimits;
  readonly #signal: AbortSignal;

  constructor(http: Http, limits: TransferLimits, signal: AbortSignal) {
    this.#http = http;
    this.#limits = limits;
    this.#signal = signal;
  }

  /**
   * The files of a revision, which is from here on its commit: a branch that moves meanwhile changes nothing.
   *
   * @throws SupplyError `listing_invalid` and those of a transfer
   */
  async list(repo: Repo): Promise<Listing> {
    const api = `${repo.mirror}/api/models/${repo.name}`;
    const info = await this.#json(`${api}/revision/${encodeURIComponent(repo.revision)}`, infoSchema);
    const fixed = info.value.sha ?? null;
    const tree = await this.#tree(`${api}/tree/${encodeURIComponent(fixed ?? repo.revision)}`);
    // A plain mirror may have no tree: names are enough, and each file says the rest when it is fetched.
    const files =
      tree ?? info.value.siblings.map(({ rfilename }) => ({ path: rfilename, bytes: null, hash: null }));
    checkPaths(files, repo);
    return { commit: fixed, files };
  }

  urlOf(repo: Repo, { commit: fixed }: Listing, path: string): string {
    const revision = encodeURIComponent(fixed ?? repo.revision);
    return `${repo.mirror}/${repo.name}/resolve/${revision}/${path.split('/').map(encodeURIComponent).join('/')}`;
  }

  /** Page by page; null where there is none. */
  async #tree(url: string): Promise<HubFile[] | null> {
    const files: HubFile[] = [];
    let search = '?recursive=true';
    for (let page = 0; page < pagesMax; page++) {
      const answer = await this.#json(`${url}${search}`, treeSchema).catch((error: unknown) => {
        if (page === 0 && (error as { code?: unknown }).code === 'repo_not_found') return null;
        throw error;
      });
      if (answer === null) return null;
      // Directories, submodules and links have no content of their own: to us they are not there.
      for (const entry of answer.value) if (entry.type === 'file') files.push(fileOf(entry));
      if (files.length > filesMax) break;
      const next = /<([^>]+)>\s*;\s*rel="next"/.exec(answer.link ?? '')?.[1];
      if (next === undefined) return files;
      // Of the address only the cursor is taken: a mirror may pass on another server's.
      search = new URL(next, url).search;
    }
    throw new SupplyError('listing_invalid', `${url} lists more than ${filesMax} files, or has no end`);
  }

  #json<T>(url: string, schema: z.ZodType<T>): Promise<{ value: T; link: string | null }> {
    return withRetries(this.#limits, this.#signal, async () => {
      const watchdog = new Watchdog(this.#limits, this.#signal);
      try {
        const { body, headers } = await this.#http.get(url, { accept: 'application/json' }, watchdog.signal);
        const text = await readText(url, body, watchdog);
        const parsed = schema.safeParse(parseJson(text));
        if (parsed.success) return { value: parsed.data, link: headers.get('link') };
        throw new SupplyError('listing_invalid', `${url} is no list of files: is it a mirror of the hub?`);
      } finally {
        watchdog.stop();
      }
    });
  }
}

async function readText(
  url: string,
  body: ReadableStream<Uint8Array> | null,
  watchdog: Watchdog,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    watchdog.start();
    for await (const chunk of body ?? []) {
      watchdog.heard(chunk.length);
      bytes += chunk.length;
      if (bytes > listingBytesMax) break;
      chunks.push(chunk);
    }
  } catch (error) {
    throw watchdog.verdict(url, error);
  }
  if (bytes > listingBytesMax)
    throw new SupplyError('listing_invalid', `${url} is longer than ${listingBytesMax} bytes`);
  return Buffer.concat(chunks).toString('utf8');
}

function fileOf({ path, size, oid, lfs }: z.infer<typeof treeSchema>[number]): HubFile {
  if (lfs != null) return { path, bytes: lfs.size, hash: hashOf(lfs.oid) };
  return { path, bytes: size ?? null, hash: hashOf(oid ?? '') };
}

/** By its length; null for what is neither. An entity tag's quotes are no part of it. */
export function hashOf(text: string): Hash | null {
  const hex = text
    .replace(/^W\//, '')
    .replaceAll('"', '')
    .replace(/^sha256:/, '');
  if (/^[0-9a-f]{64}$/.test(hex)) return { kind: 'sha256', hex };
  return /^[0-9a-f]{40}$/.test(hex) ? { kind: 'git-sha1', hex } : null;
}

/** A repository is somebody else's: its names decide where files are written. */
function checkPaths(files: readonly HubFile[], { name }: Repo): void {
  const seen = new Set<string>();
  for (const { path } of files) {
    if (!isSafePath(path) || seen.has(path))
      throw new SupplyError(
        'listing_invalid',
        `${name} lists a file that must not be written: ${JSON.stringify(path.slice(0, 200))}`,
      );
    seen.add(path);
  }
  for (const { path } of files)
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1))
      if (seen.has(path.slice(0, slash)))
        throw new SupplyError(
          'listing_invalid',
          `${name} lists ${path.slice(0, slash)} as a file and as a directory`,
        );
}

function isSafePath(path: string): boolean {
  const segments = path.split('/');
  return (
    path.length <= 1024 &&
    segments.length <= 8 &&
    segments.every((segment) => /^(?!\.{1,2}$)[^\\/\p{Cc}]{1,255}$/u.test(segment))
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
