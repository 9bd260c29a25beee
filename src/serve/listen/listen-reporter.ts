import type { CacheState, RouteClass } from './answer-note.js';

/** A request and how it ended. */
export interface Answered {
  /** Of this request alone, such as `m1x7k2-42`. */
  readonly id: string;
  /** Address of whoever is connected, such as `127.0.0.1`; empty where that is not known any more. */
  readonly remote: string;
  /** As sent; empty where the request could not be read. */
  readonly method: string;
  /** Path and query as sent: it may hold tokens. */
  readonly target: string;
  readonly userAgent: string;
  /** Status of the answer; 0 where the client went before there was one. */
  readonly status: number;
  /** Bytes of the body that were given to the connection. */
  readonly bytes: number;
  /** From the request's headers to the end of the answer, in milliseconds. */
  readonly ms: number;
  readonly route: RouteClass;
  readonly cache: CacheState;
  /** Whether the client got all of it. */
  readonly isWhole: boolean;
}

/** What the gateway's server tells. */
export interface ListenReporter {
  /** A request was answered, refused or broken off. Called for every one. */
  answered?(event: Answered): void;
  /** A handler, or the source of an answer's bytes, failed: a fault, and not the client's. */
  failed?(failure: {
    readonly id: string;
    readonly method: string;
    /** Path and query as sent: it may hold tokens. */
    readonly target: string;
    readonly error: unknown;
  }): void;
  /** A connection was closed at once, being one too many. */
  dropped?(): void;
}
