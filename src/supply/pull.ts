import { readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { megabytes } from '../lib/megabytes.ts';
import type { Layout } from '../model/layout.ts';
import { manifestFile, manifestSchema } from '../model/manifest.ts';
import { type Downloaded, download } from './download.ts';
import { SupplyError } from './errors.ts';
import { Http } from './http.ts';
import { Hub, type HubFile, type Listing } from './hub.ts';
import { lockPull } from './lock.ts';
import { diskError } from './part-file.ts';
import { realDisk } from './pointer.ts';
import { type Repo, storeName } from './repo.ts';
import { type Selection, selectFiles, type Wish } from './selection.ts';
import { readSource, type Source, sourceFile } from './source.ts';
import { bytesOf, type ModelStore } from './store.ts';
import { type TransferLimits, transferLimits } from './transfer-error.ts';

export interface PullOptions extends Wish {
  /** In the store; by default the repository's own name. */
  name?: string | undefined;
  /** For the mirror of the configuration only. */
  token: string | null;
  user_agent: string;
  signal: AbortSignal;
  onSelected?(name: string, selection: Selection): void;
  onProgress?(done: number, total: number): void;
  limits?: TransferLimits;
  /** Bytes that may still be written to the store's file system. */
  freeBytes?(dir: string): Promise<number>;
}

export interface Pulled {
  name: string;
  dir: string;
  layout: Layout;
  bytes: number;
  /** Files of which the mirror did not say which hash they must have. */
  unvouched: string[];
  /** It was there before, complete and from the same place. */
  already: boolean;
}

/** Together they fill a home's line; more would only be rude. */
const downloadsAtOnce = 2;
/** Room that is left to everything else on the disk, the journal above all. */
const reservedBytes = 64 * 1024 * 1024;

/**
 * Downloads a model to the store: what is needed of a repository at one commit, each file checked, and
 * a model only when all of it is there. The same call again goes on where the last one stopped.
 *
 * @throws SupplyError
 */
export async function pull(repo: Repo, store: ModelStore, options: PullOptions): Promise<Pulled> {
  const limits = options.limits ?? transferLimits;
  if (options.name !== undefined) store.pathOf(options.name);
  const { origin } = new URL(repo.mirror);
  const http = new Http({ ...options, limits, origin, token: repo.trusted ? options.token : null });
  const hub = new Hub(http, limits, options.signal);
  const listing = await hub.list(repo);
  const selection = selectFiles(listing.files, options);
  const name = options.name ?? storeName(repo, selection.variant);
  options.onSelected?.(name, selection);
  if (store.has(name)) return alreadyThere(repo, store, name, listing, selection);

  await store.prepare();
  const dir = store.partialOf(name);
  const unlock = await lockPull(dir);
  try {
    const fetch = new Fetch(repo, hub, listing, http, limits, dir, options);
    await fetch.all(selection.files);
    if (selection.layout === 'slmd') await fetch.all(await manifestFiles(dir, listing));
    await finish(repo, listing, dir, fetch.files);
    await store.adopt(name);
    const unvouched = Object.keys(fetch.files).filter((path) => !fetch.files[path]?.vouched);
    const bytes = await bytesOf(store.pathOf(name));
    return { name, dir: store.pathOf(name), layout: selection.layout, bytes, unvouched, already: false };
  } catch (error) {
    throw diskError(error, store.dir);
  } finally {
    unlock();
  }
}

/** Downloads lists of files, some at once, and counts the bytes of all. */
class Fetch {
  readonly files: Record<string, Downloaded> = {};
  readonly #urlOf: (path: string) => string;
  readonly #http: Http;
  readonly #limits: TransferLimits;
  readonly #dir: string;
  readonly #options: PullOptions;
  #done = 0;
  #total = 0;

  constructor(
    repo: Repo,
    hub: Hub,
    listing: Listing,
    http: Http,
    limits: TransferLimits,
    dir: string,
    options: PullOptions,
  ) {
    this.#urlOf = (path) => hub.urlOf(repo, listing, path);
    this.#http = http;
    this.#limits = limits;
    this.#dir = dir;
    this.#options = options;
  }

  /** The first that fails ends the others. */
  async all(files: readonly HubFile[]): Promise<void> {
    const waiting = files.filter(({ path }) => this.files[path] === undefined);
    this.#total += sum(waiting);
    await this.#checkSpace(sum(waiting));
    const failed = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, failed.signal]);
    const work = async () => {
      for (let file = waiting.shift(); file !== undefined; file = waiting.shift())
        this.files[file.path] = await this.#one(file, signal);
    };
    const workers = Array.from({ length: downloadsAtOnce }, () =>
      work().catch((error: unknown) => {
        failed.abort(error);
        throw error;
      }),
    );
    const [failure] = (await Promise.allSettled(workers)).filter(({ status }) => status === 'rejected');
    if (failure !== undefined) throw failed.signal.reason;
  }

  #one(file: HubFile, signal: AbortSignal): Promise<Downloaded> {
    return download(this.#urlOf(file.path), file, {
      http: this.#http,
      limits: this.#limits,
      signal,
      dir: this.#dir,
      onBytes: (bytes) => {
        this.#done += bytes;
        this.#options.onProgress?.(this.#done, Math.max(this.#total, this.#done));
      },
    });
  }

  async #checkSpace(bytes: number): Promise<void> {
    const { freeBytes = freeBytesOf } = this.#options;
    const there = await bytesOf(this.#dir).catch(() => 0);
    const free = await freeBytes(join(this.#dir, '..'));
    const needed = Math.max(0, bytes - there) + reservedBytes;
    if (needed <= free) return;
    throw new SupplyError(
      'disk_full',
      `${megabytes(needed)} are needed in ${this.#dir} and ${megabytes(free)} are free`,
    );
  }
}

async function freeBytesOf(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

/** A model of slmd says itself which files it has. */
async function manifestFiles(dir: string, { files }: Listing): Promise<HubFile[]> {
  const text = await readFile(join(dir, manifestFile), 'utf8');
  const parsed = manifestSchema.safeParse(JSON.parse(text));
  if (!parsed.success)
    throw new SupplyError('nothing_to_pull', `${manifestFile} is of another version, or damaged`);
  return Object.keys(parsed.data.files).map((path) => {
    const file = files.find((other) => other.path === path);
    if (file !== undefined) return file;
    throw new SupplyError('nothing_to_pull', `the repository lacks ${path}, which its ${manifestFile} names`);
  });
}

/** What an earlier revision left behind goes; where the rest is from is written down. */
async function finish(
  { mirror, name: repo, revision }: Repo,
  { commit }: Listing,
  dir: string,
  files: Record<string, Downloaded>,
): Promise<void> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((entry) => !entry.isDirectory())) {
    const path = join(entry.parentPath, entry.name);
    if (files[relative(dir, path)] === undefined) await rm(path);
  }
  const source: Source = { format: 1, mirror, repo, revision, commit, files };
  await writeFile(join(dir, sourceFile), `${JSON.stringify(source, null, 2)}\n`, { flush: true });
  for (const entry of entries.filter((entry) => entry.isDirectory()))
    realDisk.sync(join(entry.parentPath, entry.name));
  realDisk.sync(dir);
}

async function alreadyThere(
  repo: Repo,
  store: ModelStore,
  name: string,
  { commit }: Listing,
  { layout, files }: Selection,
): Promise<Pulled> {
  const dir = store.pathOf(name);
  const source = await readSource(dir);
  const same =
    source?.repo === repo.name &&
    (commit === null ? source.revision === repo.revision : source.commit === commit) &&
    files.every(({ path }) => source.files[path] !== undefined);
  if (same) return { name, dir, layout, bytes: await bytesOf(dir), unvouched: [], already: true };
  const whence =
    source === null ? 'a model of another origin' : `${source.repo} at ${source.commit ?? source.revision}`;
  throw new SupplyError(
    'model_exists',
    `the store has ${whence} under the name ${name}: choose another with --name, or remove it first`,
  );
}

function sum(files: readonly HubFile[]): number {
  return files.reduce((total, { bytes }) => total + (bytes ?? 0), 0);
}
