import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';

/** What happens to all requests, or to those that are meant. */
export type LineMode =
  /** Nothing. */
  | 'good'
  /** Taken, and never answered. */
  | 'silent'
  /** The head of the answer comes; of the body one byte a tenth of a second. */
  | 'drip'
  /** The connection is reset. */
  | 'reset'
  /** One byte of the body is another one. */
  | 'corrupt'
  /** The body lacks its last byte, and the head says so. */
  | 'short'
  /** One byte more than there is, and the head says so. */
  | 'long'
  /** Half of the body, then the end. */
  | 'cut'
  | 'status-401'
  | 'status-403'
  | 'status-404'
  | 'status-429'
  | 'status-500'
  | 'status-503'
  /** An HTML page with 200, as captive portals have it. */
  | 'portal';

/** A line to a server that can be broken. */
export interface FaultyLine {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  mode: LineMode;
  /** Which requests it happens to. @defaultValue all */
  only: (request: Pick<IncomingMessage, 'url'>) => boolean;
  /** Lines of requests that came, such as `GET /v2/…`. */
  readonly requests: string[];
  /** Nobody listens any more: connections are refused. */
  goDown(): Promise<void>;
  comeBack(): Promise<void>;
}

/** Starts a reverse proxy that does to answers what it is told. Goes away with the test. */
export async function startFaultyLine(upstream: string): Promise<FaultyLine> {
  const [hostname, upstreamPort] = upstream.replace('http://', '').split(':');
  const sockets = new Set<Socket>();
  const line = {
    host: '',
    mode: 'good',
    only: (): boolean => true,
    requests: [] as string[],
    goDown: async () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
    comeBack: async () => {
      server.listen(port, '127.0.0.1');
      await once(server, 'listening');
    },
  } as FaultyLine & { host: string };
  const server = createServer((incoming, response) => {
    line.requests.push(`${incoming.method ?? ''} ${incoming.url ?? ''}`);
    const mode = line.only(incoming) ? line.mode : 'good';
    response.on('error', () => undefined);
    if (mode === 'silent') return;
    if (mode === 'reset') {
      incoming.socket.resetAndDestroy();
      return;
    }
    if (mode.startsWith('status-')) {
      const status = Number(mode.slice('status-'.length));
      response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>no</h1>');
      return;
    }
    if (mode === 'portal') {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in first</html>');
      return;
    }
    void forward(incoming, response, mode);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const forward = async (
    incoming: IncomingMessage,
    response: ServerResponse,
    mode: LineMode,
  ): Promise<void> => {
    const { method, url: path, headers } = incoming;
    const onward = httpRequest({ hostname, port: upstreamPort, path, method, headers });
    onward.on('error', () => response.destroy());
    incoming.pipe(onward);
    try {
      const [answer] = (await once(onward, 'response')) as [IncomingMessage];
      if (mode === 'good' || method === 'HEAD') {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        return;
      }
      const body = await buffer(answer);
      const changed = changeBody(body, mode);
      response.writeHead(answer.statusCode ?? 502, {
        ...answer.headers,
        'content-length': mode === 'cut' || mode === 'drip' ? body.byteLength : changed.byteLength,
      });
      if (mode === 'drip') drip(changed, response);
      else if (mode === 'cut') response.write(changed, () => response.destroy());
      else response.end(changed);
    } catch {
      response.destroy();
    }
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  line.host = `127.0.0.1:${port}`;
  onTestFinished(async () => {
    if (!server.listening) return;
    await line.goDown();
  });
  return line;
}

function changeBody(body: Buffer, mode: LineMode): Buffer {
  if (mode === 'short') return body.subarray(0, -1);
  if (mode === 'long') return Buffer.concat([body, Buffer.from('x')]);
  if (mode === 'cut') return body.subarray(0, body.byteLength >> 1);
  if (mode !== 'corrupt' || body.byteLength === 0) return body;
  const changed = Buffer.from(body);
  const at = body.byteLength >> 1;
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}

function drip(body: Buffer, response: ServerResponse): void {
  let sent = 0;
  const timer = setInterval(() => {
    if (sent >= body.byteLength) response.end();
    else response.write(body.subarray(sent, sent + 1));
    sent += 1;
  }, 100);
  response.on('close', () => {
    clearInterval(timer);
  });
}
