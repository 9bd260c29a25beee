import {
  createServer as createPlainServer,
  type IncomingMessage,
  type Server as HttpServer,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { isIPv6, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { FerryError, isSystemError } from '../../errors.js';
import { Connection } from './connection.js';
import { Exchanger, type Fetch } from './exchange.js';
import { DEFAULT_LISTEN_LIMITS, type ListenLimits } from './limits.js';
import type { ListenReporter } from './listen-reporter.js';
import { refuseUnreadable } from './unreadable.js';

/**
 * Binds handlers to a socket: from here inwards there are only requests and responses. All that clients can do to a server
 * is met here: what is too long, too slow, too much or no HTTP is refused before a handler sees it.
 */

/** Options of {@link listen}. */
export interface ListenOptions {
  readonly fetch: Fetch;
  /** Address or name to listen on, such as `127.0.0.1`, `::1` or `0.0.0.0`. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** PEM texts: the certificate with its chain, and its key. @defaultValue plain HTTP */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer } | undefined;
  readonly limits?: Partial<ListenLimits> | undefined;
  readonly reporter?: ListenReporter | undefined;
}

/** A server that takes requests. */
export interface Listener {
  /** Such as `http://127.0.0.1:8000`; requests' URLs begin with it. */
  readonly url: string;
  readonly address: { readonly host: string; readonly port: number };
  /** Open connections. */
  readonly connections: number;
  /**
   * Takes no more connections, lets answers under way go to their end for that many milliseconds, and cuts the rest.
   * Resolves when everything is closed; the same however often it is called, but for a shorter time, which wins.
   */
  close(graceMs: number): Promise<void>;
}

// How often Node looks for connections that are too slow with a request; by default that is every 30 seconds.
const CHECK_INTERVAL_MS = 5000;

// A handler that does not heed that its client is gone is not waited for longer than this.
const LAST_MS = 1000;

/**
 * Serves what `fetch` answers. It may throw: the client gets 500, and the reporter is told.
 * @throws FerryError `LISTEN_FAILED` where the address is taken or not ours, or the certificate cannot be used
 */
export async function listen(options: ListenOptions): Promise<Listener> {
  const limits: ListenLimits = { ...DEFAULT_LISTEN_LIMITS, ...options.limits };
  const reporter = options.reporter ?? {};
  const server = createServer(options, limits);
  const bound = await bind(server, options);
  const authority = `${isIPv6(bound.host) ? `[${bound.host}]` : bound.host}:${String(bound.port)}`;
  const exchanger = new Exchanger({ fetch: options.fetch, authority, limits, reporter });
  const sockets = new Set<Socket>();
  const connections = new Map<Duplex, Connection>();
  let isClosing = false;

  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    if (isClosing) {
      socket.destroy();
      return;
    }
    const connection = new Connection(socket);
    connections.set(socket, connection);
    socket.once('close', () => {
      connections.delete(socket);
      connection.end();
    });
  });
  const take = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    const connection = connections.get(incoming.socket);
    if (connection !== undefined) exchanger.take(connection, incoming, outgoing);
  };
  server.on('request', take);
  server.on('checkContinue', take);
  server.on('checkExpectation', take);
  server.on('clientError', (error: Error, socket: Duplex) => {
    const connection = connections.get(socket);
    const status = refuseUnreadable(error, socket, connection, limits.maxTargetLength);
    if (status !== undefined) exchanger.reportUnreadable(connection?.remote ?? '', status);
  });
  server.on('timeout', (socket: Socket) => {
    // Nothing has moved for a while: that is our part as long as an answer is being thought about.
    if (connections.get(socket)?.isWaitingForUs === true) socket.setTimeout(limits.stallTimeoutMs);
    else socket.destroy();
  });
  server.on('drop', () => {
    reporter.dropped?.();
  });
  // What goes wrong with one connection, as with too few file handles, must not end all others.
  server.on('error', (error) => {
    reporter.failed?.({ id: '', method: '', target: '', error });
  });

  let closing: Promise<void> | undefined;
  const cut = (): void => {
    for (const { socket } of connections.values()) socket.destroy();
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://${authority}`,
    address: bound,
    get connections() {
      return sockets.size;
    },
    close: async (graceMs) => {
      const timer = setTimeout(cut, graceMs);
      isClosing = true;
      exchanger.startClosing();
      closing ??= new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
        for (const connection of connections.values()) {
          if (connection.isIdle) connection.socket.destroySoon();
        }
      }).then(() => Promise.race([exchanger.whenIdle(), delay(LAST_MS, undefined, { ref: false })]));
      try {
        await closing;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

function createServer({ tls }: ListenOptions, limits: ListenLimits): HttpServer {
  const settings: ServerOptions = {
    headersTimeout: limits.headersTimeoutMs,
    // No request has a body, so that there is nothing to wait for behind its headers.
    requestTimeout: limits.headersTimeoutMs,
    connectionsCheckingInterval: Math.min(CHECK_INTERVAL_MS, limits.headersTimeoutMs),
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    maxHeaderSize: limits.maxHeaderBytes,
    noDelay: true,
    // Looked at with all else: Node's own answer lacks what every answer carries.
    requireHostHeader: false,
  };
  let server: HttpServer;
  try {
    server =
      tls === undefined
        ? createPlainServer(settings)
        : createTlsServer({ ...settings, ...tls, handshakeTimeout: limits.handshakeTimeoutMs });
  } catch (cause) {
    throw new FerryError('LISTEN_FAILED', 'the certificate or its key cannot be used', { cause });
  }
  server.maxConnections = limits.maxConnections;
  server.maxRequestsPerSocket = limits.maxRequestsPerConnection;
  server.timeout = limits.stallTimeoutMs;
  return server;
}

async function bind(
  server: HttpServer,
  { host, port }: ListenOptions,
): Promise<{ host: string; port: number }> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port, backlog: 1024 }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  } catch (cause) {
    throw new FerryError(
      'LISTEN_FAILED',
      `cannot listen on \`${host}\`, port ${String(port)}${reasonOf(cause)}`,
      {
        cause,
      },
    );
  }
  const { address, port: taken } = server.address() as AddressInfo;
  return { host: address, port: taken };
}

function reasonOf(error: unknown): string {
  if (isSystemError(error, 'EADDRINUSE')) return ': something else listens there';
  if (isSystemError(error, 'EADDRNOTAVAIL', 'ENOTFOUND', 'EAI_AGAIN'))
    return ': it is no address of this machine';
  if (isSystemError(error, 'EACCES')) return ': not allowed';
  return '';
}
