import type { IncomingHttpHeaders } from 'node:http';
import type { RequestHead, RouteKind } from './exchange.js';
import type { FaultKind } from './fault-rules.js';

/** A request as it came in, with what became of it. */
export interface DoubleRecord {
  /** When it came, in ms of `performance.now`. */
  readonly at: number;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  /** Of the registry, or of its second host. */
  readonly origin: string;
  readonly kind: RouteKind;
  readonly repository: string;
  readonly clientCertificate: string | undefined;
  /** Of the request's body, as far as it was read. */
  bytesIn: number;
  /** Of the answer's body. */
  bytesOut: number;
  /** 0 until it is answered, and for good where the connection was reset instead. */
  status: number;
  fault: FaultKind | undefined;
}

/** Takes down what is known before the body was read. */
export function recordOf(head: RequestHead): DoubleRecord {
  const { method, url, path, headers, origin, route, clientCertificate } = head;
  return {
    at: performance.now(),
    method,
    path,
    query: url.slice(path.length + 1),
    headers,
    origin,
    kind: route.kind,
    repository: route.repository,
    clientCertificate,
    bytesIn: 0,
    bytesOut: 0,
    status: 0,
    fault: undefined,
  };
}
