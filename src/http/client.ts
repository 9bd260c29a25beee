import { withAdvice, type Advise } from './advice.js';
import { withAuthorization } from './authorization.js';
import { withChannelAuthorization } from './channel-authorization.js';
import { clockOf, type ClockOptions } from './clock.js';
import type { FindChannelCredential } from './credentials/channel-credential.js';
import type { FindCredential } from './credentials/credential.js';
import { HostLimits, withLimit } from './limit.js';
import { withRedirects } from './redirect.js';
import { withRetry, type RetryOptions } from './retry.js';
import type { HttpRequest, Send } from './send.js';
import { TokenService } from './token.js';
import { openTransport, type TransportOptions } from './transport.js';
import { withWarnings } from './warning.js';

/** Options of {@link openHttpClient}; `userAgent` such as `conda-ferry/0.1.0`. */
export interface HttpClientOptions
  extends ClockOptions, TransportOptions, Pick<RetryOptions, 'maxAttempts' | 'maxWaitMs'> {
  /** Credentials of registries, sent when they are asked for. @defaultValue none: all requests are anonymous */
  readonly findCredential?: FindCredential | undefined;
  /** Credentials of ordinary conda channels, sent unasked; with them the client is for channels only. */
  readonly findChannelCredential?: FindChannelCredential | undefined;
  /** Tells why a request may have been refused. @defaultValue errors say what the server says */
  readonly advise?: Advise | undefined;
  /** Limits of hosts, which clients with the same credentials should share. @defaultValue limits of its own */
  readonly limits?: HostLimits | undefined;
  /** Called for every request that goes out, retries and redirects included. */
  readonly onRequest?: ((request: HttpRequest) => void) | undefined;
  /** Told what servers warn of, and what is done for safety's sake; each text once. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

/** A composed `send` with its connections. */
export interface HttpClient extends AsyncDisposable {
  readonly send: Send;
}

/**
 * Opens the whole stack: redirects over authorization over retries over the host's limiter over one transport. Tokens
 * are fetched below authorization, by the same retries and limits.
 */
export function openHttpClient(options: HttpClientOptions): HttpClient {
  const transport = openTransport(options);
  const limits = options.limits ?? new HostLimits(options);
  const counted: Send = async (request) => {
    options.onRequest?.(request);
    return transport.send(request);
  };
  const patient = withWarnings(withRetry(withLimit(counted, limits), limits, options), options.onWarning);
  const { findChannelCredential } = options;
  const authorized =
    findChannelCredential === undefined
      ? withAuthorization(patient, {
          findCredential: options.findCredential ?? (() => Promise.resolve(undefined)),
          tokens: new TokenService({
            send: patient,
            now: clockOf(options).now,
            onWarning: options.onWarning,
          }),
        })
      : withChannelAuthorization(patient, findChannelCredential);
  return {
    send: withAdvice(withRedirects(authorized), options.advise),
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  };
}
