import { withBasicAuthorization, type FindCredentials } from './authorization.js';
import { withRedirects } from './redirect.js';
import { withRetry, type RetryOptions } from './retry.js';
import type { HttpRequest, Send } from './send.js';
import { openTransport } from './transport.js';

/** Options of {@link openHttpClient}. */
export interface HttpClientOptions extends RetryOptions {
  /** Such as `conda-ferry/0.1.0`. */
  readonly userAgent: string;
  /** @defaultValue none: all requests are anonymous */
  readonly findCredentials?: FindCredentials;
  /** Called for every request that goes out, retries and redirects included. */
  readonly onRequest?: (request: HttpRequest) => void;
}

/** A composed `send` with its connections. */
export interface HttpClient extends AsyncDisposable {
  readonly send: Send;
}

/** Opens the whole stack: redirects over authorization over retries over one transport. */
export function openHttpClient(options: HttpClientOptions): HttpClient {
  const transport = openTransport(options.userAgent);
  const counted: Send = async (request) => {
    options.onRequest?.(request);
    return transport.send(request);
  };
  const authorized = withBasicAuthorization(
    withRetry(counted, options),
    options.findCredentials ?? (() => undefined),
  );
  return {
    send: withRedirects(authorized),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}
