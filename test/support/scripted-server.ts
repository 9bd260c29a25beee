import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import { buffer } from 'node:stream/consumers';
import { listenHere } from './listen.js';

/** Long enough for the client in this process to read what came before a reset, which would throw it away. */
const BEFORE_RESET_MS = 30;

/** What goes wrong with an answer. */
export type Fault =
  /** The connection is reset instead of an answer, after the request's body was read. */
  | 'reset'
  /** The answer comes without the request's body having been read; then the connection closes. */
  | 'early'
  /** Half of the body, then the connection closes in good order. */
  | 'truncated'
  /** Half of the body, then a reset. */
  | 'reset-in-body'
  /** Half of the body, then nothing, as long as the client waits. */
  | 'stalled'
  /** Nothing at all. */
  | 'silent';

/** A canned answer. `content-length` is added; several values of a header make several lines. */
export interface Answer {
  /** @defaultValue 200 */
  readonly status?: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Uint8Array;
  readonly fault?: Fault;
}

/** One row: `GET /path?query` and what it is answered with, once. */
export type Row = readonly [request: string, answer: Answer | ((request: RecordedRequest) => Answer)];

/** A request as it came in. */
export interface RecordedRequest {
  /** Such as `GET /path?query`. */
  readonly line: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** A server that knows what it will be asked. */
export interface ScriptedServer {
  /** Such as `http://127.0.0.1:34567`. */
  readonly origin: string;
  readonly host: string;
  /** Every request, expected or not, in the order of arrival. */
  readonly requests: readonly RecordedRequest[];
  /** Their lines: what a test compares with what it expects. */
  readonly lines: readonly string[];
  url(path: string): URL;
  /** Adds rows, where they need to know the server. */
  expect(...rows: readonly Row[]): void;
}

/**
 * Answers each request with the first row for it that was not used yet; what nobody expected gets 418. Goes away
 * with the test.
 */
export async function startScriptedServer(...table: readonly Row[]): Promise<ScriptedServer> {
  const rows = [...table];
  const requests: RecordedRequest[] = [];
  const answer = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const line = `${incoming.method ?? ''} ${incoming.url ?? ''}`;
    const index = rows.findIndex(([wanted]) => wanted === line);
    const [, found] = rows.splice(index === -1 ? rows.length : index, 1)[0] ?? [line, { status: 418 }];
    const isEarly = typeof found !== 'function' && found.fault === 'early';
    const body = isEarly ? Buffer.alloc(0) : await buffer(incoming);
    const request = { line, headers: incoming.headers, body };
    requests.push(request);
    send(incoming, response, typeof found === 'function' ? found(request) : found);
  };
  const server = createServer((incoming, response) => {
    // A client that gives up in the middle of its body is part of the play.
    answer(incoming, response).catch(() => incoming.destroy());
  });
  server.keepAliveTimeout = 60_000;
  const host = await listenHere(server);
  return {
    host,
    origin: `http://${host}`,
    requests,
    get lines() {
      return requests.map((request) => request.line);
    },
    url: (path) => new URL(path, `http://${host}`),
    expect: (...more) => rows.push(...more),
  };
}

function send(incoming: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const { status = 200, headers = {}, fault } = answer;
  const body = Buffer.from(answer.body ?? '');
  if (fault === 'silent') return;
  if (fault === 'reset') {
    incoming.socket.resetAndDestroy();
    return;
  }
  const hasLength = status !== 204 && status !== 304 && !('transfer-encoding' in headers);
  response.writeHead(status, {
    ...(hasLength ? { 'content-length': body.byteLength } : {}),
    ...(fault === 'early' ? { connection: 'close' } : {}),
    ...headers,
  });
  if (fault === undefined || fault === 'early') {
    response.end(body);
    return;
  }
  response.write(body.subarray(0, body.byteLength / 2), () => {
    if (fault === 'truncated') incoming.socket.end();
    if (fault === 'reset-in-body') setTimeout(() => incoming.socket.resetAndDestroy(), BEFORE_RESET_MS);
  });
}
