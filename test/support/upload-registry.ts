import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** What goes wrong with one request; `-after` means that its work was done. */
export type UploadFault =
  'reset' | 'reset-after' | 'half-reset' | '503' | '500-after' | '404-gone' | '416' | '429';

/** How an {@link UploadRegistry} behaves; may be changed between uploads. */
export interface UploadBehaviour {
  /** By number of the request since the last `reset`, from 0; deletions do not count. */
  faults?: ReadonlyMap<number, UploadFault>;
  /** What a POST with a digest gets. @defaultValue 202 */
  singlePost?: 201 | 202 | 405;
  /** Only the latest Location of a session works, as at distribution. @defaultValue false */
  staleLocations?: boolean;
  /** Chunks are appended wherever they say they belong, as at distribution 2.8. @defaultValue false */
  ignoresContentRange?: boolean;
  /** Added to the end that a status tells. @defaultValue 0 */
  lie?: number;
  /** `Range` of a session stays at its first chunk, as at ECR; chunks are answered 201. @defaultValue false */
  frozenRange?: boolean;
  /** Larger bodies are refused with 413, without being read. @defaultValue none */
  maxBodyBytes?: number;
  /** Sent with the answer to the start of an upload. */
  minChunkBytes?: number;
}

/** A registry of one repository that can only take blobs, in every way the specification knows. */
export interface UploadRegistry extends AsyncDisposable {
  readonly host: string;
  /** Blobs by digest, each with the right bytes. */
  readonly blobs: Map<string, Buffer>;
  /** Sessions that are open. */
  readonly sessions: ReadonlyMap<string, { readonly bytes: Buffer }>;
  /** As `PATCH 0-9`; with the range of the chunk, where there is one. */
  readonly requests: string[];
  /** Closed sessions whose bytes were not those of the digest. */
  readonly wrong: string[];
  /** Forgets everything and behaves like this from now on. */
  reset(behaviour?: UploadBehaviour): void;
}

interface Session {
  bytes: Buffer;
  steps: number;
  firstEnd: number | undefined;
}

/** Starts a registry on a free port of 127.0.0.1. */
export async function startUploadRegistry(): Promise<UploadRegistry> {
  const blobs = new Map<string, Buffer>();
  const sessions = new Map<string, Session>();
  const requests: string[] = [];
  const wrong: string[] = [];
  let behaviour: UploadBehaviour = {};
  let count = 0;
  let created = 0;

  const where = (id: string, session: Session): string => `/upload/${id}?step=${String(session.steps)}`;

  const store = (response: ServerResponse, digest: string, bytes: Buffer): void => {
    if (`sha256:${createHash('sha256').update(bytes).digest('hex')}` === digest) {
      blobs.set(digest, bytes);
      response.writeHead(201).end();
      return;
    }
    wrong.push(digest);
    response.writeHead(400).end('{"errors":[{"code":"DIGEST_INVALID"}]}');
  };

  const start = (response: ServerResponse, url: URL, body: Buffer): void => {
    const digest = url.searchParams.get('digest');
    const { singlePost = 202, minChunkBytes } = behaviour;
    if (digest !== null && singlePost === 201) {
      store(response, digest, body);
      return;
    }
    if (digest !== null && singlePost === 405) {
      response.writeHead(405).end();
      return;
    }
    const id = String((created += 1));
    const session = { bytes: Buffer.alloc(0), steps: 0, firstEnd: undefined };
    sessions.set(id, session);
    const minimum = minChunkBytes === undefined ? {} : { 'oci-chunk-min-length': minChunkBytes };
    response.writeHead(202, { location: where(id, session), ...minimum }).end();
  };

  const rangeOf = (session: Session, lie: number): string => {
    const end = session.bytes.length - 1 + lie;
    const shown = behaviour.frozenRange === true ? Math.min(end, session.firstEnd ?? end) : end;
    return `0-${String(Math.max(0, shown))}`;
  };

  const onSession = (request: IncomingMessage, response: ServerResponse, url: URL, body: Buffer): void => {
    const id = url.pathname.slice('/upload/'.length);
    const session = sessions.get(id);
    const isStale =
      behaviour.staleLocations === true && url.searchParams.get('step') !== String(session?.steps);
    if (session === undefined || isStale) {
      response.writeHead(404).end('{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}');
      return;
    }
    if (request.method === 'DELETE') {
      sessions.delete(id);
      response.writeHead(204).end();
      return;
    }
    if (request.method === 'GET') {
      const range = rangeOf(session, behaviour.lie ?? 0);
      response.writeHead(204, { location: where(id, session), range }).end();
      return;
    }
    const from = Number(/^\d+/.exec(request.headers['content-range'] ?? '')?.[0] ?? session.bytes.length);
    if (from !== session.bytes.length && behaviour.ignoresContentRange !== true) {
      response.writeHead(416).end();
      return;
    }
    session.bytes = Buffer.concat([session.bytes, body]);
    session.steps += 1;
    if (request.method === 'PUT') {
      sessions.delete(id);
      store(response, url.searchParams.get('digest') ?? '', session.bytes);
      return;
    }
    session.firstEnd ??= session.bytes.length - 1;
    const status = behaviour.frozenRange === true ? 201 : 202;
    response.writeHead(status, { location: where(id, session), range: rangeOf(session, 0) }).end();
  };

  const work = (request: IncomingMessage, response: ServerResponse, url: URL, body: Buffer): void => {
    if (url.pathname.startsWith('/upload/')) {
      onSession(request, response, url, body);
    } else if (request.method === 'HEAD') {
      const bytes = blobs.get(url.pathname.split('/').at(-1) ?? '');
      response.writeHead(bytes === undefined ? 404 : 200, { 'content-length': bytes?.length ?? 0 }).end();
    } else start(response, url, body);
  };

  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', 'http://registry');
    const { method = '' } = request;
    requests.push([method, request.headers['content-range']].filter(Boolean).join(' '));
    const fault = method === 'DELETE' ? undefined : behaviour.faults?.get(count);
    if (method !== 'DELETE') count += 1;
    if (Number(request.headers['content-length'] ?? 0) > (behaviour.maxBodyBytes ?? Infinity)) {
      response.writeHead(413, { connection: 'close' }).end();
      return;
    }
    const body = await buffer(request);
    switch (fault) {
      case undefined:
        work(request, response, url, body);
        return;
      case 'reset':
        break;
      case 'half-reset':
        if (method === 'PATCH') work(request, silent(), url, body.subarray(0, body.length / 2));
        break;
      case 'reset-after':
        work(request, silent(), url, body);
        break;
      case '500-after':
        work(request, silent(), url, body);
        response.writeHead(500).end();
        return;
      case '404-gone':
        // A blob is there or is not; what gets lost is sessions.
        if (!url.pathname.startsWith('/upload/')) break;
        sessions.delete(url.pathname.slice('/upload/'.length));
        response.writeHead(404).end();
        return;
      case '416':
        response.writeHead(url.pathname.startsWith('/upload/') ? 416 : 503).end();
        return;
      case '503':
      case '429':
        response.writeHead(Number(fault), fault === '429' ? { 'retry-after': '1' } : {}).end();
        return;
    }
    request.socket.resetAndDestroy();
  };

  const server = createServer((request, response) => {
    answer(request, response).catch(() => request.destroy());
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    blobs,
    sessions,
    requests,
    wrong,
    reset: (next = {}) => {
      behaviour = next;
      count = 0;
      for (const collection of [blobs, sessions]) collection.clear();
      for (const list of [requests, wrong]) list.length = 0;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** An answer that nobody gets. */
function silent(): ServerResponse {
  const response = { writeHead: () => response, end: () => response };
  return response as unknown as ServerResponse;
}
