import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** One request as it came in. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly status: number;
}

/** A channel over HTTP. */
export interface ChannelServer extends AsyncDisposable {
  readonly url: string;
  /** Requests answered so far; empty it to start counting anew. */
  readonly requests: SeenRequest[];
  /** Answers a request from the folder, for an `intercept` that only wanted to wait. */
  answer(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** Options of {@link serveChannel}. */
export interface ChannelServerOptions {
  /** Size of the pieces that files are sent in. @defaultValue 64 KiB */
  readonly chunkBytes?: number;
  /** Answers instead of the file server where it returns true. */
  readonly intercept?: (request: IncomingMessage, response: ServerResponse) => boolean;
}

/** Serves a folder with ETag, Last-Modified and conditional requests, on a free port of 127.0.0.1. */
export async function serveChannel(
  folder: string,
  options: ChannelServerOptions = {},
): Promise<ChannelServer> {
  const requests: SeenRequest[] = [];
  const server = createServer((request, response) => {
    response.on('finish', () => {
      const { method = '', url = '', headers } = request;
      requests.push({ method, path: url, headers, status: response.statusCode });
    });
    if (options.intercept?.(request, response) === true) return;
    void answer(folder, request, response, options.chunkBytes ?? 65_536);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/channel`,
    requests,
    answer: (request, response) => answer(folder, request, response, options.chunkBytes ?? 65_536),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function answer(
  folder: string,
  request: IncomingMessage,
  response: ServerResponse,
  chunkBytes: number,
) {
  const path = decodeURIComponent((request.url ?? '').replace(/^\/channel\//, ''));
  const file = join(folder, path);
  const found = await stat(file).catch(() => undefined);
  if (found?.isFile() !== true) {
    response.writeHead(404).end('not found');
    return;
  }
  const etag = `"${found.size}-${found.mtimeMs}"`;
  const headers = { etag, 'last-modified': found.mtime.toUTCString() };
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304, headers).end();
    return;
  }
  response.writeHead(200, { ...headers, 'content-length': found.size });
  createReadStream(file, { highWaterMark: chunkBytes }).pipe(response);
}
