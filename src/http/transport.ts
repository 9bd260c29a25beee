import { Readable } from 'node:stream';
import { Agent, EnvHttpProxyAgent, errors, type Dispatcher } from 'undici';
import { FerryError } from '../errors.js';
import { bytesAtHand, collect, noteFailure, type Bytes, type NotedFailure } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import { exactBytes } from '../io/verify.js';
import { hostKind, isLoopback, isPrivateHost, lookupPublic } from './address.js';
import { Exchange } from './exchange.js';
import type { HttpRequest, HttpResponse, Send } from './send.js';
import { tlsConnectOptions, type FindTlsSettings } from './tls.js';
import { SlowAnswer, translateTransportError } from './transport-error.js';

const CONNECT_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 60_000;
/** A registry answers the last request of a large upload only after it has hashed the blob. */
const COMMIT_TIMEOUT_MS = 300_000;
/** Idle time between two pieces of a body. */
const BODY_TIMEOUT_MS = 60_000;
/** A body that brings less than this while we wait this long is given up: it would hold its place for ever. */
const MIN_WINDOW_BYTES = 60 * 1024;
const WINDOW_MS = 60_000;
/** Well above undici's 4 s, which is too short for the pauses of a mirror run. */
const KEEP_ALIVE_MS = 30_000;
/** Some registries send upload locations of several KiB. */
const MAX_HEADER_BYTES = 64 * 1024;
/** Bodies up to this size are sent in one piece, which is markedly faster than as a stream. */
const MAX_BUFFERED_BODY_BYTES = 512 * 1024;
/** What is read of an unwanted body before the connection is dropped instead. */
const MAX_DISCARD_BYTES = 128 * 1024;

/** The proxies that the environment names. */
export interface ProxySettings {
  /** For http URLs, such as `http://user:secret@proxy:3128`. */
  readonly httpProxy?: string | undefined;
  /** For https URLs. */
  readonly httpsProxy?: string | undefined;
  /** Hosts that are reached directly, separated by commas. */
  readonly noProxy?: string | undefined;
}

/** Options of {@link openTransport}. */
export interface TransportOptions {
  readonly userAgent: string;
  /** Loopback hosts are always reached directly. @defaultValue none */
  readonly proxy?: ProxySettings | undefined;
  readonly findTlsSettings?: FindTlsSettings | undefined;
  /** Time limits, for tests. */
  readonly timeouts?: Partial<Timeouts> | undefined;
}

interface Timeouts {
  readonly headersMs: number;
  readonly bodyMs: number;
  readonly windowMs: number;
}

/** The bottom of the stack: one request, one answer, over undici. */
export interface Transport extends AsyncDisposable {
  readonly send: Send;
}

/** Opens a transport; disposing closes its connections. */
export function openTransport(options: TransportOptions): Transport {
  const timeouts: Timeouts = {
    headersMs: HEADERS_TIMEOUT_MS,
    bodyMs: BODY_TIMEOUT_MS,
    windowMs: WINDOW_MS,
    ...options.timeouts,
  };
  const dispatchers = new Dispatchers(options);
  const send: Send = async (request) => {
    request.signal?.throwIfAborted();
    const headers: Record<string, string> = {
      'user-agent': options.userAgent,
      'accept-encoding': 'identity',
      ...request.headers,
    };
    if (request.body !== undefined) headers['content-length'] = String(request.body.size);
    const failure: NotedFailure = {};
    const limit = limitTime(request);
    try {
      const body = await prepareBody(request, failure);
      const { origin, pathname, search } = request.url;
      const exchange = new Exchange(
        {
          origin,
          path: `${pathname}${search}`,
          method: request.method,
          headers,
          body: body ?? null,
          // Said here too, since a pool behind a proxy knows nothing of the agent's options.
          bodyTimeout: timeouts.bodyMs,
          headersTimeout: request.body === undefined ? timeouts.headersMs : COMMIT_TIMEOUT_MS,
        },
        limit.signal,
      );
      await exchange.begin(dispatchers.open(request) ?? (await dispatchers.of(request)));
      const response = new UndiciResponse(exchange, request, timeouts.windowMs, limit.end);
      return isEncoded(response) ? await refuseEncoded(response, request) : response;
    } catch (error) {
      limit.end();
      request.signal?.throwIfAborted();
      if ('error' in failure) throw failure.error;
      throw translateTransportError(error, request);
    }
  };
  return { send, [Symbol.asyncDispose]: () => dispatchers[Symbol.asyncDispose]() };
}

/** The connections: one pool for each origin, since proxies, authorities and client certificates belong to origins. */
class Dispatchers implements AsyncDisposable {
  readonly #options: TransportOptions;
  readonly #open = new Map<string, Dispatcher>();
  readonly #private = new Map<string, Promise<boolean>>();
  #isDisposed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** A dispatcher that is open already, of a request that nobody else had a say in. */
  open({ url, givenBy }: HttpRequest): Dispatcher | undefined {
    return givenBy === undefined && !this.#isDisposed ? this.#open.get(url.origin) : undefined;
  }

  async of({ url, givenBy }: HttpRequest): Promise<Dispatcher> {
    const isGuarded = givenBy !== undefined && !(await this.#isPrivate(givenBy));
    if (isGuarded && hostKind(url) === 'private') {
      throw new FerryError(
        'REGISTRY_REFUSED',
        `${redactUrl(givenBy)} points to ${redactUrl(url)}, which is not safe: it leads into a private network`,
      );
    }
    if (this.#isDisposed) throw new errors.ClientDestroyedError();
    const key = `${url.origin}${givenBy === undefined ? '' : ' given'}${isGuarded ? ' guarded' : ''}`;
    let dispatcher = this.#open.get(key);
    if (dispatcher === undefined) {
      dispatcher = this.#create(url, givenBy !== undefined, isGuarded);
      this.#open.set(key, dispatcher);
    }
    return dispatcher;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    await Promise.all([...this.#open.values()].map((dispatcher) => dispatcher.destroy()));
  }

  #isPrivate(url: URL): Promise<boolean> {
    let isPrivate = this.#private.get(url.hostname);
    if (isPrivate === undefined) {
      isPrivate = isPrivateHost(url);
      this.#private.set(url.hostname, isPrivate);
    }
    return isPrivate;
  }

  #create(url: URL, isGiven: boolean, isGuarded: boolean): Dispatcher {
    const { findTlsSettings } = this.#options;
    const settings = findTlsSettings?.(url.origin);
    // Where another origin sends us, we are nobody.
    const tls = tlsConnectOptions(
      isGiven && settings !== undefined ? { ...settings, client: undefined } : settings,
    );
    const shared = {
      // As many as the limiter lets through: requests that wait for each other must not meet in a second queue here.
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      autoSelectFamily: true,
    };
    const connect = {
      timeout: CONNECT_TIMEOUT_MS,
      ...tls,
      ...(isGuarded ? { lookup: lookupPublic } : {}),
    };
    const proxy = this.#proxyFor(url);
    if (proxy === undefined) return new Agent({ ...shared, connect });
    return new EnvHttpProxyAgent({
      ...shared,
      connect,
      requestTls: { timeout: CONNECT_TIMEOUT_MS, ...tls },
      httpProxy: proxy,
      httpsProxy: proxy,
      // Even an empty text keeps undici from looking into the environment by itself.
      noProxy: this.#options.proxy?.noProxy ?? '',
      proxyTunnel: false,
    });
  }

  /** Each kind of URL has its own proxy, and none stands in for the other. */
  #proxyFor(url: URL): string | undefined {
    const { httpProxy, httpsProxy } = this.#options.proxy ?? {};
    const text = url.protocol === 'https:' ? httpsProxy : httpProxy;
    if (isLoopback(url) || text === undefined || text === '') return undefined;
    // Commonly written as `proxy:3128`, as curl takes it.
    const proxy = text.includes('://') ? text : `http://${text}`;
    // The error of `new URL` would carry the text, password and all.
    if (!URL.canParse(proxy)) throw new FerryError('USAGE', `the proxy for ${url.protocol}// URLs is no URL`);
    return proxy;
  }
}

/** The caller's signal, joined by the request's own time limit. */
function limitTime({ signal, timeLimitMs }: HttpRequest): {
  readonly signal: AbortSignal | undefined;
  readonly end: () => void;
} {
  if (timeLimitMs === undefined) return { signal, end: () => undefined };
  const limit = new AbortController();
  const timer = setTimeout(() => {
    limit.abort(new SlowAnswer('the time limit of the request is over'));
  }, timeLimitMs);
  const end = (): void => {
    clearTimeout(timer);
  };
  return { signal: signal === undefined ? limit.signal : AbortSignal.any([signal, limit.signal]), end };
}

async function prepareBody(
  request: HttpRequest,
  failure: NotedFailure,
): Promise<Readable | Uint8Array | undefined> {
  const { body, signal } = request;
  if (body === undefined) return undefined;
  const opened = tryOpen(() => body.open({ signal }), failure);
  const ready = bytesAtHand(opened);
  if (ready?.byteLength === body.size && body.size <= MAX_BUFFERED_BODY_BYTES) return ready;
  const bytes = relay(noteFailure(() => exactBytes(opened, body.size, 'request body'), failure));
  return body.size > MAX_BUFFERED_BODY_BYTES
    ? Readable.from(bytes)
    : collect(bytes, body.size, 'request body');
}

function tryOpen(open: () => Bytes, failure: NotedFailure): Bytes {
  try {
    return open();
  } catch (error) {
    failure.error = error;
    throw error;
  }
}

/** A stream that is destroyed throws the reason into its generator; further in, it would pass for the body's own. */
async function* relay(source: Bytes): Bytes {
  for await (const chunk of source) yield chunk;
}

/** Bytes that are encoded although nobody asked for it have no digest that anybody knows. */
function isEncoded(response: HttpResponse): boolean {
  const encoding = response.header('content-encoding')?.trim().toLowerCase();
  const isBody = response.status === 200 || response.status === 206;
  return isBody && encoding !== undefined && encoding !== '' && encoding !== 'identity';
}

async function refuseEncoded(response: HttpResponse, { method }: HttpRequest): Promise<never> {
  await response.discard();
  const encoding = response.header('content-encoding')?.trim().toLowerCase() ?? '';
  throw new FerryError(
    'REGISTRY_REFUSED',
    `${method} ${redactUrl(response.url)} answered in encoding \`${encoding.slice(0, 40)}\`, which was not asked for`,
  );
}

class UndiciResponse implements HttpResponse {
  readonly status: number;
  readonly url: URL;
  readonly #exchange: Exchange;
  readonly #request: HttpRequest;
  readonly #windowMs: number;
  readonly #end: () => void;

  constructor(exchange: Exchange, request: HttpRequest, windowMs: number, end: () => void) {
    this.status = exchange.status;
    this.url = request.url;
    this.#exchange = exchange;
    this.#request = request;
    this.#windowMs = windowMs;
    this.#end = end;
  }

  get body(): AsyncIterable<Uint8Array> {
    return this.#read();
  }

  header(name: string): string | undefined {
    const value = this.#exchange.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  async discard(): Promise<void> {
    try {
      await this.#exchange.discard(MAX_DISCARD_BYTES);
    } finally {
      this.#end();
    }
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    // Only what we wait for the server counts; a reader may take its time.
    let waitedMs = 0;
    let bytes = 0;
    let since = performance.now();
    try {
      for await (const chunk of this.#exchange) {
        waitedMs += performance.now() - since;
        bytes += chunk.byteLength;
        if (waitedMs >= this.#windowMs) {
          if (bytes < MIN_WINDOW_BYTES) throw new SlowAnswer('the answer came too slowly');
          waitedMs = 0;
          bytes = 0;
        }
        yield chunk;
        since = performance.now();
      }
    } catch (error) {
      throw translateTransportError(error, this.#request);
    } finally {
      this.#end();
    }
  }
}
