import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { until } from './wait.ts';

/** What happens instead of a proper answer; it may answer itself, or do something and let `serve` answer. */
export type Mischief = (exchange: Exchange) => void;

export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  content: Buffer;
  /** Answers properly, as of this content and this entity tag. */
  serve(content?: Buffer, tag?: string): void;
}

export interface HeardRequest {
  /** `hub`, or `cdn` for the host that large files come from. */
  host: 'hub' | 'cdn';
  path: string;
  headers: IncomingMessage['headers'];
}

export const commit = 'c0ffee'.padEnd(40, '0');

/**
 * A model hub on loopback, with the addresses, hashes, redirects and ranges of the real one. Files of
 * more than a hundred bytes are large: they come from another host, and are named by their SHA-256.
 */
export class FakeHub {
  readonly repo = 'owner/Model-1M';
  readonly files = new Map<string, Buffer>();
  readonly heard: HeardRequest[] = [];
  /** Answers in place of the API's own: by the beginning of their path. */
  readonly api = new Map<string, Mischief>();
  /** Per file, what happens at the first request for its bytes, the second … */
  readonly mischief = new Map<string, Mischief[]>();
  /** Instead of the hub's own redirect of large files. */
  redirect: ((path: string) => string) | null = null;
  /** Entries of the tree that are not files of the hub. */
  extra: object[] = [];
  pageSize = 1000;
  #hub!: Server;
  #cdn!: Server;

  static async start(t: TestContext, files: Record<string, Buffer | string>): Promise<FakeHub> {
    const hub = new FakeHub();
    for (const [path, content] of Object.entries(files)) hub.files.set(path, Buffer.from(content));
    hub.#hub = await listening(hub, 'hub');
    hub.#cdn = await listening(hub, 'cdn');
    t.after(() => hub.#stop());
    return hub;
  }

  get url(): string {
    return originOf(this.#hub);
  }

  get cdn(): string {
    return originOf(this.#cdn);
  }

  /** Requests for the bytes of a file, in order. */
  requestsOf(path: string): HeardRequest[] {
    const end = `/${path}`;
    return this.heard.filter((request) => request.path.endsWith(end) && !request.path.startsWith('/api/'));
  }

  answer(host: HeardRequest['host'], request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    this.heard.push({ host, path: url.pathname, headers: request.headers });
    if (host === 'hub' && url.pathname.startsWith('/api/')) this.#answerApi(url, request, response);
    else this.#answerFile(host, url, request, response);
  }

  #answerFile(
    host: HeardRequest['host'],
    url: URL,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const resolve = `/${this.repo}/resolve/${commit}/`;
    const path = decodeURIComponent(url.pathname.slice(host === 'cdn' ? 1 : resolve.length));
    const content = this.files.get(path);
    if (content === undefined || (host === 'hub' && !url.pathname.startsWith(resolve)))
      response.writeHead(404).end();
    else if (host === 'hub' && isLarge(content)) this.#redirect(path, content, response);
    else {
      const serve = (other = content, tag = tagOf(other)) => serveBytes(request, response, other, tag);
      const next = this.mischief.get(path)?.shift() ?? (() => serve());
      next({ request, response, content, serve });
    }
  }

  #redirect(path: string, content: Buffer, response: ServerResponse): void {
    const location = this.redirect?.(path) ?? `${this.cdn}/${path}`;
    const linked = { 'x-linked-etag': tagOf(content), 'x-linked-size': content.length };
    response.writeHead(302, { location, ...linked }).end();
  }

  #answerApi(url: URL, request: IncomingMessage, response: ServerResponse): void {
    const base = `/api/models/${this.repo}`;
    const answer = [...this.api].find(([path]) => url.pathname.startsWith(`${base}${path}`))?.[1];
    if (answer !== undefined) answer({ request, response, content: Buffer.alloc(0), serve: () => undefined });
    else if (url.pathname === `${base}/revision/main`) {
      const siblings = [...this.files.keys()].map((rfilename) => ({ rfilename }));
      json(response, { id: this.repo, sha: commit, siblings });
    } else if (url.pathname === `${base}/tree/${commit}`) this.#answerTree(url, response);
    else response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end();
  }

  #answerTree(url: URL, response: ServerResponse): void {
    const entries = [...[...this.files].map(([path, content]) => entryOf(path, content)), ...this.extra];
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const more = from + this.pageSize < entries.length;
    // The real hub's own name, also where a mirror passes the list on.
    const next = `<https://hub.example${url.pathname}?recursive=true&cursor=${from + this.pageSize}>; rel="next"`;
    json(response, entries.slice(from, from + this.pageSize), more ? { link: next } : {});
  }

  async #stop(): Promise<void> {
    for (const server of [this.#hub, this.#cdn]) {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }
}

/**
 * Sends so many bytes of a proper answer, and breaks the connection once they have been written to a file:
 * what a client has not read yet is lost with its connection.
 */
export function cutAfter(bytes: number, file: string): Mischief {
  return ({ request, response, serve }) => {
    response.end = ((chunk: Buffer) => {
      const [, range] = /^bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
      const from = response.statusCode === 206 ? Number(range) : 0;
      response.write(chunk.subarray(0, bytes));
      const arrived = () => response.closed || sizeOf(file) === from + bytes || undefined;
      until(arrived, `${from + bytes} bytes arrive`).finally(() => response.destroy());
      return response;
    }) as typeof response.end;
    serve();
  };
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

export function status(code: number, headers: Record<string, string> = {}): Mischief {
  return ({ response }) => void response.writeHead(code, headers).end('an error page');
}

function serveBytes(request: IncomingMessage, response: ServerResponse, content: Buffer, etag: string): void {
  const headers = { etag, 'accept-ranges': 'bytes' };
  const [, from] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
  const condition = request.headers['if-range'];
  if (from === undefined || (condition !== undefined && condition !== etag)) {
    response.writeHead(200, { ...headers, 'content-length': content.length }).end(content);
    return;
  }
  const rest = content.subarray(Number(from));
  const range = `bytes ${from}-${content.length - 1}/${content.length}`;
  if (rest.length === 0) response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
  else
    response.writeHead(206, { ...headers, 'content-range': range, 'content-length': rest.length }).end(rest);
}

function json(response: ServerResponse, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

function entryOf(path: string, content: Buffer): object {
  const entry = { type: 'file', path, size: content.length, oid: gitSha1(content) };
  return isLarge(content) ? { ...entry, lfs: { oid: sha256(content), size: content.length } } : entry;
}

function tagOf(content: Buffer): string {
  return `"${isLarge(content) ? sha256(content) : gitSha1(content)}"`;
}

function isLarge(content: Buffer): boolean {
  return content.length > 100;
}

export function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

function gitSha1(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

async function listening(hub: FakeHub, host: HeardRequest['host']): Promise<Server> {
  const server = createServer((request, response) => hub.answer(host, request, response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
