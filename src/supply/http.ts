import { messageOf } from '../lib/errors.ts';
import { SupplyError } from './errors.ts';
import { TransferError, type TransferLimits } from './transfer-error.ts';

export interface HttpOptions {
  limits: TransferLimits;
  /** Goes to `origin` and nowhere else. */
  token: string | null;
  origin: string;
  user_agent: string;
}

export interface HttpAnswer {
  /** 200, 206 or 416; everything else is an error. */
  status: number;
  headers: Headers;
  /** Of the first answer, by the mirror itself: what it says of a file before it sends elsewhere for it. */
  first: Headers;
  body: ReadableStream<Uint8Array> | null;
}

const redirects = new Set([301, 302, 303, 307, 308]);

/**
 * GET, with the hub's manners: it answers with redirects to where the bytes are.
 *
 * INVARIANTS: the token goes to the mirror's own origin only, never again after a redirect has left it,
 * and never in the clear over a network; a redirect never leads from https to http.
 */
export class Http {
  readonly #options: HttpOptions;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  /**
   * @param signal ends the request, and later the body
   * @throws TransferError for what may pass, SupplyError for what will not
   */
  async get(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<HttpAnswer> {
    const { limits, token, origin, user_agent } = this.#options;
    let at = new URL(url);
    let withToken = token !== null && at.origin === origin && isPrivate(at);
    let first: Headers | null = null;
    for (let hops = 0; hops <= limits.redirects_max; hops++) {
      const response = await this.#request(
        at,
        {
          'user-agent': user_agent,
          'accept-encoding': 'identity',
          ...headers,
          ...(withToken ? { authorization: `Bearer ${token}` } : {}),
        },
        signal,
      );
      first ??= response.headers;
      const { status } = response;
      if (!redirects.has(status)) {
        if (status === 200 || status === 206 || status === 416)
          return { status, headers: response.headers, first, body: response.body };
        await response.body?.cancel();
        throw this.#statusError(response, at, withToken);
      }
      await response.body?.cancel();
      at = this.#target(at, response.headers.get('location'));
      withToken &&= at.origin === origin;
    }
    throw new SupplyError('redirect_refused', `${url} leads from one address to the next without an end`);
  }

  async #request(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
    const { headers_ms } = this.#options.limits;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), headers_ms);
    try {
      return await fetch(url, {
        headers,
        redirect: 'manual',
        signal: AbortSignal.any([signal, late.signal]),
      });
    } catch (error) {
      signal.throwIfAborted();
      if (late.signal.aborted)
        throw new TransferError('timed_out', `${url.host} has not answered within ${headers_ms} ms`);
      throw new TransferError(
        'network_failed',
        `${url.host} cannot be reached: ${reasonOf(error)}`,
        null,
        error,
      );
    } finally {
      clearTimeout(timer);
    }
  }

  #target(from: URL, location: string | null): URL {
    const to = location === null ? null : URL.parse(location, from.href);
    if (to === null || !/^https?:$/.test(to.protocol) || to.username !== '')
      throw new SupplyError('redirect_refused', `${from.host} leads to what is no address`);
    if (from.protocol === 'https:' && to.protocol === 'http:')
      throw new SupplyError('redirect_refused', `${from.host} leads from https to http (${to.host})`);
    return to;
  }

  #statusError({ status, headers }: Response, at: URL, withToken: boolean): SupplyError {
    const { origin, token } = this.#options;
    const reason = headers.get('x-error-code');
    const what = `${at.origin}${at.pathname} (HTTP ${status})`;
    const hint = withToken
      ? 'the token does not allow it: accept its terms on its page, or use another token'
      : token === null
        ? 'set HF_TOKEN to a token that may read it'
        : 'the token was not sent: it goes to model.mirror only, and over https';
    if (status === 429)
      return new TransferError(
        'rate_limited',
        `${at.host} asks for a pause`,
        retryAfterMs(headers, Date.now()),
      );
    // An address that was signed for a while may be past its time: asking again gives a fresh one.
    if (status >= 500 || (at.origin !== origin && status === 403))
      return new TransferError(
        'server_failed',
        `the server fails at ${what}`,
        retryAfterMs(headers, Date.now()),
      );
    if (reason === 'RepoNotFound' || status === 404)
      return new SupplyError(
        'repo_not_found',
        `there is nothing at ${what}${withToken ? '' : ', or it is private'}: check the name and the revision`,
      );
    if (status === 401 || status === 403)
      return new SupplyError('access_denied', `${what} is private or gated: ${hint}`);
    return new SupplyError('server_failed', `the server refuses ${what}`);
  }
}

/** Nobody on the way can read what is sent: TLS, or a wire that does not leave the machine. */
function isPrivate({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
}

/** `Retry-After` in seconds or as a date; null for none. */
function retryAfterMs(headers: Headers, nowMs: number): number | null {
  const text = headers.get('retry-after');
  if (text === null) return null;
  const ms = /^\d+$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}

/** Node says "fetch failed" and keeps the reason to itself. */
export function reasonOf(error: unknown): string {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  return cause?.code ?? cause?.message ?? messageOf(error);
}
