import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

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

/** Starts a proxy that lets in whoever says `credentials` (`user:password`), where given. Goes away with the test. */
export async function startProxy(credentials?: string): Promise<ProxyServer> {
  const requests: ProxyRequest[] = [];
  const sockets = new Set<Socket>();
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
        port,
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
    const onward = connect(Number(new URL(`http://${incoming.url ?? ''}`).port || 443), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.pipe(client).pipe(onward);
    });
    sockets.add(onward);
    onward.on('error', () => client.destroy());
    client.on('error', () => onward.destroy());
  });
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    get lines() {
      return requests.map(({ line }) => line);
    },
  };
}
