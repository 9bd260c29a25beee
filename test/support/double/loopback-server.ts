import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { routeOf, type Answer, type RequestHead } from './exchange.js';

/** Long enough for a client in this process to read what came before a reset, which would throw it away. */
const BEFORE_RESET_MS = 30;
const DROPS = 10;

/** TLS of a server. */
export interface ServerTls {
  readonly key: string;
  readonly cert: string;
  /** Authority of client certificates. With it, one that it signed is demanded. */
  readonly clientCa?: string;
}

/** Options of {@link startLoopbackServer}. */
export interface LoopbackOptions {
  /** @defaultValue `127.0.0.1` */
  readonly address?: string;
  /** @defaultValue none: plain HTTP */
  readonly tls?: ServerTls | undefined;
  /** Asks for a client certificate, and takes any or none. @defaultValue false */
  readonly asksForCertificate?: boolean;
  readonly handle: (incoming: IncomingMessage, response: ServerResponse) => Promise<void>;
}

/** A server on a free port. */
export interface LoopbackServer extends AsyncDisposable {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  /** Such as `http://127.0.0.1:34567`. */
  readonly origin: string;
}

/** Starts an HTTP or HTTPS server of this process. */
export async function startLoopbackServer(options: LoopbackOptions): Promise<LoopbackServer> {
  const listener = (incoming: IncomingMessage, response: ServerResponse): void => {
    // A client that gives up in the middle of its body is part of the play.
    options.handle(incoming, response).catch(() => incoming.destroy());
  };
  const server = makeServer(options, listener);
  server.keepAliveTimeout = 60_000;
  const address = options.address ?? '127.0.0.1';
  server.listen(0, address);
  await once(server, 'listening');
  const host = `${address}:${(server.address() as AddressInfo).port}`;
  return {
    host,
    origin: `${options.tls === undefined ? 'http' : 'https'}://${host}`,
    [Symbol.asyncDispose]: async () => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function makeServer(
  options: LoopbackOptions,
  listener: (incoming: IncomingMessage, response: ServerResponse) => void,
): Server {
  const { tls } = options;
  if (tls === undefined) return createServer(listener);
  const demands = tls.clientCa !== undefined;
  return createTlsServer(
    {
      key: tls.key,
      cert: tls.cert,
      ...(demands ? { ca: tls.clientCa } : {}),
      requestCert: demands || options.asksForCertificate === true,
      rejectUnauthorized: demands,
    },
    listener,
  );
}

/** Reads the head of a request. */
export function headOf(incoming: IncomingMessage, origin: string): RequestHead {
  const url = incoming.url ?? '/';
  const question = url.indexOf('?');
  const path = question === -1 ? url : url.slice(0, question);
  const clientCertificate = commonName(incoming);
  return {
    method: incoming.method ?? '',
    url,
    path,
    query: new URLSearchParams(question === -1 ? '' : url.slice(question + 1)),
    headers: incoming.headers,
    origin,
    route: routeOf(path),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
  };
}

function commonName(incoming: IncomingMessage): string | undefined {
  const socket = incoming.socket as Partial<TLSSocket>;
  // Typed as always full, but empty where the client showed none.
  const certificate = socket.getPeerCertificate?.() as { subject?: { CN?: string | string[] } } | undefined;
  const name = certificate?.subject?.CN;
  return Array.isArray(name) ? name[0] : name;
}

/** Sends an answer, as odd as it is meant to be. @returns bytes of the body that went out */
export async function deliver(
  head: RequestHead,
  incoming: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
): Promise<number> {
  const { status, delivery = {} } = answer;
  const body = Buffer.from(answer.body ?? '');
  const headers = { ...lengthOf(answer, body), ...answer.headers };
  const payload = head.method === 'HEAD' ? Buffer.alloc(0) : body;
  if (delivery.rawLines !== undefined) {
    const lines = Object.entries(headers).flatMap(([name, value]) =>
      [value].flat().map((one) => `${name}: ${String(one)}`),
    );
    const start = [`HTTP/1.1 ${status} Scripted`, ...lines, ...delivery.rawLines, 'connection: close'];
    incoming.socket.end(Buffer.concat([Buffer.from(`${start.join('\r\n')}\r\n\r\n`), payload]));
    return payload.byteLength;
  }
  response.writeHead(status, headers);
  if (delivery.cutAt !== undefined) {
    const part = payload.subarray(0, delivery.cutAt);
    response.flushHeaders();
    await new Promise((resolve) => response.write(part, resolve));
    if (delivery.ending === 'reset') {
      await delay(BEFORE_RESET_MS);
      resetConnection(incoming);
    } else {
      incoming.socket.end();
    }
    return part.byteLength;
  }
  if (delivery.dripMs !== undefined) {
    const size = Math.max(1, Math.ceil(payload.byteLength / DROPS));
    for (let at = 0; at < payload.byteLength; at += size) {
      response.write(payload.subarray(at, at + size));
      await delay(delivery.dripMs / DROPS);
    }
    response.end();
    return payload.byteLength;
  }
  response.end(payload);
  return payload.byteLength;
}

/** Breaks the connection off. Under TLS no reset can be sent; there it ends without TLS's own goodbye. */
export function resetConnection({ socket }: IncomingMessage): void {
  if ('encrypted' in socket) socket.destroy();
  else socket.resetAndDestroy();
}

function lengthOf(answer: Answer, body: Buffer): { 'content-length'?: number } {
  const hasNone = answer.status === 204 || answer.status === 304 || answer.withoutLength === true;
  return hasNone ? {} : { 'content-length': body.byteLength };
}
