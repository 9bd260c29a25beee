import { TransportError } from '../errors.js';
import { collect } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import { clockOf, type Clock, type ClockOptions } from './clock.js';
import { isWorthWaiting } from './host-limiter.js';
import type { HostLimits } from './limit.js';
import { retryAfterOf, withBody } from './rate-limit.js';
import type { HttpRequest, HttpResponse, Send } from './send.js';

/** Statuses that mean "not now"; those above 504 are of content delivery networks. @see RFC 9110, section 15 */
const RETRYABLE_STATUSES = new Set([408, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524]);
/** With one request in five failing, six attempts would end one mirror of 300 archives in eight. */
const MAX_ATTEMPTS = 8;
/** Attempts at a server that answered before, while nobody listens there. */
const MAX_REFUSALS = 4;
/** After so many failures in a row, some seconds, people are told what is waited for. */
const TOLD_FAILURES = 4;
const BASE_DELAY_MS = 500;
const MAX_DELAY_MS = 30_000;
/** No request is begun again after this time. */
const MAX_ELAPSED_MS = 15 * 60_000;

/** Options of {@link withRetry}. */
export interface RetryOptions extends ClockOptions {
  /** Told once per host that something fails again and again, while it is still tried. */
  readonly onWarning?: ((text: string) => void) | undefined;
  /** @defaultValue 8 */
  readonly maxAttempts?: number | undefined;
  /** The longest pause that a server may ask for. @defaultValue five minutes */
  readonly maxWaitMs?: number | undefined;
}

/**
 * Repeats what may be repeated (see `HttpRequest.repeatable`) after a broken connection or an answer that means
 * "not now", with exponential back-off and full jitter, as long as the host's budget of retries lasts. What a rate
 * limit turned away was not done, so it is repeated whatever it is; the host's own clock says when.
 */
export function withRetry(send: Send, limits: HostLimits, options: RetryOptions = {}): Send {
  const clock = clockOf(options);
  const { maxAttempts = MAX_ATTEMPTS, maxWaitMs } = options;
  const told = new Set<string>();
  return async (request) => {
    const isRepeatable = request.repeatable ?? (request.method === 'GET' || request.method === 'HEAD');
    const startedAt = clock.now();
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await attemptOnce(send, request);
      // What a caller aborts with may look like a broken connection.
      if ('error' in outcome) request.signal?.throwIfAborted();
      const limiter = limits.of(request);
      const isWorthIt =
        attempt < maxAttempts &&
        clock.now() - startedAt < MAX_ELAPSED_MS &&
        (isTurnedAway(outcome) || (isRepeatable && isRetryable(outcome, attempt, limiter.hasAnswered))) &&
        isWorthWaiting(pauseOf(outcome), maxWaitMs) &&
        limiter.takeRetry();
      if (!isWorthIt) return unwrap(outcome, attempt);
      const { host } = request.url;
      if (attempt >= TOLD_FAILURES && !told.has(host)) {
        told.add(host);
        options.onWarning?.(`${describeFailure(request, outcome)}, ${String(attempt)} times; trying again`);
      }
      if ('response' in outcome) {
        await outcome.response.discard();
        // The host's clock holds this one back with all others.
        if (outcome.response.rateLimit !== undefined) continue;
      }
      await pauseBeforeRetry(attempt, pauseOf(outcome), request.signal, clock);
    }
  };
}

/** Waits after failed attempt number `attempt`, from 1: back-off with full jitter, on top of what the server asks for. */
export async function pauseBeforeRetry(
  attempt: number,
  floorMs: number | undefined,
  signal: AbortSignal | undefined,
  clock: Clock,
): Promise<void> {
  const ceilingMs = Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** (attempt - 1));
  await clock.sleep((floorMs ?? 0) + clock.random() * ceilingMs, signal);
}

/** Milliseconds that an answer asks to wait, by header or body. */
export function retryAfterMs(response: HttpResponse): number | undefined {
  return response.rateLimit?.retryAfterMs ?? retryAfterOf(response.header('retry-after'), Date.now());
}

type Outcome = { readonly response: HttpResponse } | { readonly error: unknown };

async function attemptOnce(send: Send, request: HttpRequest): Promise<Outcome> {
  try {
    const response = await send(request);
    const { bufferUpTo } = request;
    if (bufferUpTo === undefined || response.status !== 200) return { response };
    const what = `the answer to ${request.method} ${redactUrl(request.url)}`;
    return { response: withBody(response, await collect(response.body, bufferUpTo, what)) };
  } catch (error) {
    return { error };
  }
}

function describeFailure({ method, url }: HttpRequest, outcome: Outcome): string {
  if ('response' in outcome) return `${method} ${redactUrl(url)} answered ${String(outcome.response.status)}`;
  return outcome.error instanceof Error ? outcome.error.message : String(outcome.error);
}

function pauseOf(outcome: Outcome): number | undefined {
  return 'response' in outcome ? retryAfterMs(outcome.response) : undefined;
}

/** A 503 may come from behind whatever did the work. */
function isTurnedAway(outcome: Outcome): boolean {
  return 'response' in outcome && outcome.response.rateLimit !== undefined && outcome.response.status !== 503;
}

function isRetryable(outcome: Outcome, attempt: number, hasAnswered: boolean): boolean {
  if ('response' in outcome) return RETRYABLE_STATUSES.has(outcome.response.status);
  if (!(outcome.error instanceof TransportError)) return false;
  const cause = outcome.error.cause;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  // A port where nobody listens is told at once, unless somebody did a moment ago: a server may start anew.
  if (code === 'ECONNREFUSED') return hasAnswered && attempt < MAX_REFUSALS;
  if (code === 'ENOTFOUND') return attempt === 1;
  // A certificate that is wrong stays wrong.
  return !/^(CERT_|ERR_TLS|ERR_SSL|EPROTO|EPRIVATE|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|UND_ERR_INVALID|UND_ERR_REQ_CONTENT|UND_ERR_DESTROYED|UND_ERR_CLOSED)/.test(
    code,
  );
}

function unwrap(outcome: Outcome, attempts: number): HttpResponse {
  if ('response' in outcome) return outcome.response;
  const { error } = outcome;
  if (attempts === 1 || !(error instanceof TransportError)) throw error;
  throw new TransportError(
    error.code === 'TIMEOUT' ? 'TIMEOUT' : 'NETWORK',
    `${error.message}, ${String(attempts)} times`,
    { method: error.method, url: error.url, attempts },
    { cause: error.cause, hint: error.hint },
  );
}
