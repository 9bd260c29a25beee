/** What the gateway grants to a client. Times in milliseconds. */
export interface ListenLimits {
  /** Open connections; a further one is closed at once. @defaultValue {@link DEFAULT_LISTEN_LIMITS}, as for all */
  readonly maxConnections: number;
  /** Requests on one connection, after which it is closed. */
  readonly maxRequestsPerConnection: number;
  /** Requests that wait on one connection while an earlier one is answered; more end the connection. */
  readonly maxPipelined: number;
  /** Longest request target, in characters; a longer one is answered 414. */
  readonly maxTargetLength: number;
  /** Request line and headers together, in bytes. */
  readonly maxHeaderBytes: number;
  /** From the first byte of a request, or from the connection's start, to the end of its headers. */
  readonly headersTimeoutMs: number;
  /** How long a connection may stay open without a request. */
  readonly keepAliveTimeoutMs: number;
  /** How long a client may take nothing of what it is being sent. */
  readonly stallTimeoutMs: number;
  /** How long a TLS handshake may take. */
  readonly handshakeTimeoutMs: number;
}

/**
 * Taken where nothing else is said. A client of conda has some ten connections, and its request line and headers stay below
 * 4 KiB; whoever sends nothing is gone within 20 seconds, as connections are looked at every 5.
 */
export const DEFAULT_LISTEN_LIMITS: ListenLimits = {
  maxConnections: 10_000,
  maxRequestsPerConnection: 100_000,
  maxPipelined: 64,
  maxTargetLength: 8192,
  maxHeaderBytes: 16 * 1024,
  headersTimeoutMs: 15_000,
  keepAliveTimeoutMs: 30_000,
  stallTimeoutMs: 60_000,
  handshakeTimeoutMs: 15_000,
};
