import type { Bytes, OpenBytes } from '../io/bytes.js';
import type { Advice } from './advice.js';

/**
 * The one way out to the network. Everything that speaks HTTP takes a {@link Send}; what it does (time limits,
 * retries, redirects, authorization) is composed of functions from `Send` to `Send` in `client.ts`.
 */

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** Body of a request. `size` in bytes; `open` may be called again for another attempt. */
export interface HttpBody {
  readonly size: number;
  readonly open: OpenBytes;
}

/** Rights on a repository, such as `pull` and `push` on `org/noarch/zlib`. @see distribution token scope */
export interface Access {
  readonly repository: string;
  readonly actions: readonly ('pull' | 'push' | 'delete')[];
  /** Another repository that is read from: the source of a mount. */
  readonly from?: string | undefined;
}

/** A request. Header names are lower case. */
export interface HttpRequest {
  readonly method: HttpMethod;
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: HttpBody | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Whether the same request may be sent again after a failure that leaves its outcome open.
   * @defaultValue true for GET and HEAD, else false
   */
  readonly repeatable?: boolean | undefined;
  /** What the request does to a repository; a token is asked for that, and no more. */
  readonly access?: Access | undefined;
  /**
   * The server that chose this URL, where it is of another origin: no credentials, headers or client certificate go
   * there, nor may it lead into a private network that the server itself is not part of.
   */
  readonly givenBy?: URL | undefined;
  /**
   * Whose budget at the server the request counts against, such as a user name; set by what authorizes it.
   * @defaultValue that of the anonymous
   */
  readonly identity?: string | undefined;
  /**
   * What becomes of a redirect to another origin: it is followed, or it is the answer. One within the origin is followed
   * either way.
   * @defaultValue `'follow'`
   */
  readonly redirects?: 'follow' | 'tell' | undefined;
  /** The queue at its host that it stands in. @defaultValue `'read'` for GET and HEAD, else `'write'` */
  readonly lane?: Lane | undefined;
  /**
   * Reads a successful answer of up to so many bytes at once, so that a connection which breaks in its middle is a failed
   * attempt like any other. For documents.
   * @defaultValue the body is streamed
   */
  readonly bufferUpTo?: number | undefined;
  /**
   * How long the answer with its body may take in all, in ms, for answers that are small by nature.
   * @defaultValue no limit but those on idleness
   */
  readonly timeLimitMs?: number | undefined;
}

/**
 * Reading and writing wait for each other in copies, and both for tokens, so none may use up what another needs: the
 * body of an upload may come from the same host, and ask for a token on the way.
 */
export type Lane = 'read' | 'write' | 'token';

/** An answer that says "not so fast". */
export interface RateLimit {
  /** How long to wait, in ms, where the server says so. */
  readonly retryAfterMs?: number | undefined;
  /** Requests per minute that the server allows, where it says so. */
  readonly requestsPerMinute?: number | undefined;
}

/** An answer, whatever its status. The body must be read or discarded, or its connection is lost. */
export interface HttpResponse {
  readonly status: number;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  readonly body: Bytes;
  /** Set where the server said "not so fast"; see `rate-limit.ts`. */
  readonly rateLimit?: RateLimit | undefined;
  /** Set where the server refused and more is known of why; see `advice.ts`. */
  readonly advice?: Advice | undefined;
  /** A header by lower-case name; several of one name are joined by commas. @see RFC 9110, section 5.3 */
  header(name: string): string | undefined;
  /** Reads and drops the rest of the body. */
  discard(): Promise<void>;
}

/**
 * Sends a request; any status is an answer, not an error.
 * @throws TransportError `NETWORK`, `TIMEOUT`
 */
export type Send = (request: HttpRequest) => Promise<HttpResponse>;
