import { Readable } from 'node:stream';
import { Agent, errors, request as undiciRequest } from 'undici';
import { TransportError } from '../errors.js';
import { collect, noteFailure, type Bytes, type NotedFailure } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import { exactBytes } from '../io/verify.js';
import type { HttpRequest, HttpResponse, Send } from './send.js';

const CONNECT_TIMEOUT_MS = 10_000;
/** A registry answers the last request of a large upload only after it has hashed the blob. */
const HEADERS_TIMEOUT_MS = 300_000;
/** Idle time between two pieces of a body. */
const BODY_TIMEOUT_MS = 60_000;
/** Well above undici's 4 s, which is too short for the pauses of a mirror run. */
const KEEP_ALIVE_MS = 30_000;
const MAX_CONNECTIONS_PER_ORIGIN = 32;
/** Some registries send upload locations of several KiB. */
const MAX_HEADER_BYTES = 64 * 1024;
/** Bodies up to this size are sent in one piece, which is markedly faster than as a stream. */
const MAX_BUFFERED_BODY_BYTES = 512 * 1024;
/** What is read of an unwanted body before the connection is dropped instead. */
const MAX_DISCARD_BYTES = 128 * 1024;

/** The bottom of the stack: one request, one answer, over undici. */
export interface Transport extends AsyncDisposable {
  readonly send: Send;
}

/** Opens a transport; disposing closes its connections. */
export function openTransport(userAgent: string): Transport {
  const agent = new Agent({
    connections: MAX_CONNECTIONS_PER_ORIGIN,
    pipelining: 1,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: BODY_TIMEOUT_MS,
    connect: { timeout: CONNECT_TIMEOUT_MS },
    autoSelectFamily: true,
  });

  const send: Send = async (request) => {
    request.signal?.throwIfAborted();
    const headers: Record<string, string> = {
      'user-agent': userAgent,
      'accept-encoding': 'identity',
      ...request.headers,
    };
    if (request.body !== undefined) headers['content-length'] = String(request.body.size);
    const failure: NotedFailure = {};
    try {
      const body = await prepareBody(request, failure);
      const response = await undiciRequest(request.url, {
        dispatcher: agent,
        method: request.method,
        headers,
        body: body ?? null,
        ...(request.signal === undefined ? {} : { signal: request.signal }),
      });
      return new UndiciResponse(response, request);
    } catch (error) {
      request.signal?.throwIfAborted();
      if ('error' in failure) throw failure.error;
      throw translateTransportError(error, request);
    }
  };
  return { send, [Symbol.asyncDispose]: () => agent.destroy() };
}

async function prepareBody(
  request: HttpRequest,
  failure: NotedFailure,
): Promise<Readable | Uint8Array | undefined> {
  const { body, signal } = request;
  if (body === undefined) return undefined;
  const bytes = relay(
    noteFailure(() => exactBytes(body.open({ signal }), body.size, 'request body'), failure),
  );
  return body.size > MAX_BUFFERED_BODY_BYTES
    ? Readable.from(bytes)
    : collect(bytes, body.size, 'request body');
}

/** A stream that is destroyed throws the reason into its generator; further in, it would pass for the body's own. */
async function* relay(source: Bytes): Bytes {
  for await (const chunk of source) yield chunk;
}

class UndiciResponse implements HttpResponse {
  readonly status: number;
  readonly url: URL;
  readonly #response: Awaited<ReturnType<typeof undiciRequest>>;
  readonly #request: HttpRequest;

  constructor(response: Awaited<ReturnType<typeof undiciRequest>>, request: HttpRequest) {
    this.status = response.statusCode;
    this.url = request.url;
    this.#response = response;
    this.#request = request;
  }

  get body(): AsyncIterable<Uint8Array> {
    return this.#read();
  }

  header(name: string): string | undefined {
    const value = this.#response.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  async discard(): Promise<void> {
    await this.#response.body.dump({ limit: MAX_DISCARD_BYTES });
  }

  async *#read(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of this.#response.body) yield chunk as Uint8Array;
    } catch (error) {
      throw translateTransportError(error, this.#request);
    }
  }
}

/** Names a failure of undici, the socket or TLS; an abort by the caller and anything unknown pass through. */
function translateTransportError(error: unknown, request: HttpRequest): unknown {
  if (request.signal?.aborted === true) return request.signal.reason;
  const code = systemCode(error);
  if (code === undefined) return error;
  const isTimeout =
    error instanceof errors.ConnectTimeoutError ||
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError ||
    code === 'ETIMEDOUT';
  const url = redactUrl(request.url);
  return new TransportError(
    isTimeout ? 'TIMEOUT' : 'NETWORK',
    `${request.method} ${url}: ${describeCode(code)}`,
    { method: request.method, url, attempts: 1 },
    { cause: error, hint: hintFor(code, request.url) },
  );
}

function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  const isKnown =
    /^(UND_ERR_|E[A-Z]+$|EAI_|CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|HPE_)/.test(error.code);
  return isKnown ? error.code : undefined;
}

function describeCode(code: string): string {
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nobody listens there (ECONNREFUSED)',
    ECONNRESET: 'the connection was reset (ECONNRESET)',
    ENOTFOUND: 'the host name is not known (ENOTFOUND)',
    EAI_AGAIN: 'the name server did not answer (EAI_AGAIN)',
    UND_ERR_SOCKET: 'the connection broke (UND_ERR_SOCKET)',
    UND_ERR_CONNECT_TIMEOUT: 'no connection in time (UND_ERR_CONNECT_TIMEOUT)',
    UND_ERR_HEADERS_TIMEOUT: 'no answer in time (UND_ERR_HEADERS_TIMEOUT)',
    UND_ERR_BODY_TIMEOUT: 'the answer stopped in the middle (UND_ERR_BODY_TIMEOUT)',
  };
  return known[code] ?? code;
}

function hintFor(code: string, url: URL): string | undefined {
  const isTls = /^(ERR_SSL|ERR_TLS|EPROTO)/.test(code);
  return isTls && url.protocol === 'https:'
    ? 'if the server speaks plain HTTP, pass --plain-http'
    : undefined;
}
