import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, type Socket } from 'node:net';
import { listenHere } from './listen.js';

/** What came to the proxy itself. */
export interface ProxyRequest {
  /** Such as `GET http://registry.test/x` or `CONNECT registry.test:443`. */
  readonly line: string;
  readonly headers: IncomingHttpHeaders;
}

/** A forward proxy that leads every name to loopback. */
export interface ProxyServer {
  readonly host: string;
  readonly requests: readonly ProxyRequest[];
  readonly lines: readonly string[];
}

/**
 * Starts a proxy that lets in whoever says `credentials` (`user:password`), where given, and leads to one `port` where that
 * is given, else to that of the request. Goes away with the test.
 */
export async function startProxy({
  credentials,
  port: onlyPort,
}: { readonly credentials?: string; readonly port?: number } = {}): Promise<ProxyServer> {
  const requests: ProxyRequest[] = [];
  const expected = credentials && `Basic ${Buffer.from(credentials).toString('base64')}`;
  const isWelcome = (headers: IncomingHttpHeaders): boolean =>
    expected === undefined || headers['proxy-authorization'] === expected;
  const server = createServer((incoming, response) => {
    requests.push({ line: `${incoming.method ?? ''} ${incoming.url ?? ''}`, headers: incoming.headers });
    if (!isWelcome(incoming.headers)) {
      response.writeHead(407).end();
      return;
    }
    const { port, pathname, search, host } = new URL(incoming.url ?? '');
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).filter(([name]) => !name.startsWith('proxy-')),
    );
    const onward = httpRequest(
      {
        host: '127.0.0.1',
        port: onlyPort ?? port,
        path: pathname + search,
        method: incoming.method,
        headers: { ...headers, host },
      },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on('error', () => response.destroy());
    incoming.pipe(onward);
  });
  server.on('connect', (incoming, client: Socket) => {
    requests.push({ line: `CONNECT ${incoming.url ?? ''}`, headers: incoming.headers });
    if (!isWelcome(incoming.headers)) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    const port = onlyPort ?? Number(new URL(`http://${incoming.url ?? ''}`).port || 443);
    const onward = connect(port, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(client).pipe(onward);
    });
    for (const end of [onward, client]) {
      end
        .on('error', () => undefined)
        .on('close', () => {
          onward.destroy();
          client.destroy();
        });
    }
  });
  return {
    host: await listenHere(server),
    requests,
    get lines() {
      return requests.map(({ line }) => line);
    },
  };
}
