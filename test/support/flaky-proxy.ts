import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { mulberry32 } from './double/faults.js';
import { listenHere } from './listen.js';

/** What a request may meet: an answer instead of it, or no answer, before it got through or after. */
const FAULTS = ['500-before', '503-before', 'reset-before', '503-after', 'reset-after'] as const;

/** A registry behind a bad line. */
export interface FlakyProxy {
  /** Such as `127.0.0.1:34567`. */
  readonly host: string;
  /** How often something went wrong. */
  faults: number;
  requests: number;
}

/** Starts a reverse proxy in front of a registry, that spoils a share of all requests. Goes away with the test. */
export async function startFlakyProxy(
  upstream: string,
  { rate, seed }: { readonly rate: number; readonly seed: number },
): Promise<FlakyProxy> {
  const random = mulberry32(seed);
  const [hostname, port] = upstream.split(':');
  const proxy = { host: '', faults: 0, requests: 0 };
  const forward = (incoming: IncomingMessage, response: ServerResponse, isAnswered: boolean): void => {
    const { method, url: path, headers } = incoming;
    const onward = httpRequest({ hostname, port, path, method, headers }, (answer) => {
      if (isAnswered) {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
        answer.on('error', () => response.destroy());
        return;
      }
      answer.resume();
      answer.once('close', () => {
        if (random() < 0.5) incoming.socket.destroy();
        else response.writeHead(503).end();
      });
    });
    onward.on('error', () => response.destroy());
    // A client that was killed in the middle of an upload.
    incoming.on('error', () => onward.destroy());
    response.on('close', () => {
      if (isAnswered && !response.writableFinished) onward.destroy();
    });
    incoming.pipe(onward);
  };
  const server = createServer((incoming, response) => {
    proxy.requests += 1;
    const fault = random() < rate ? FAULTS[Math.floor(random() * FAULTS.length)] : undefined;
    if (fault !== undefined) proxy.faults += 1;
    if (fault === 'reset-before') {
      incoming.socket.destroy();
      return;
    }
    if (fault === '500-before' || fault === '503-before') {
      incoming.resume();
      incoming.once('end', () => response.writeHead(Number(fault.slice(0, 3))).end());
      return;
    }
    forward(incoming, response, fault === undefined);
  });
  proxy.host = await listenHere(server);
  return proxy;
}
