import { setTimeout as delay } from 'node:timers/promises';
import { TransportError } from '../errors.js';
import type { HttpRequest, HttpResponse, Send } from './send.js';

/** Statuses that mean "not now". @see RFC 9110, section 15 */
const RETRYABLE_STATUSES = new Set([408, 429, 500, 502, 503, 504]);
const MAX_ATTEMPTS = 6;
const BASE_DELAY_MS = 250;
const MAX_DELAY_MS = 30_000;
/** A server that asks for a longer pause gets its answer passed on instead. */
const MAX_RETRY_AFTER_MS = 300_000;

/** Options of what retries; time and chance are replaceable for tests. */
export interface RetryOptions {
  /** Waits; rejects when the signal aborts. */
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  /** From 0 up to 1. */
  readonly random?: () => number;
}

/**
 * Repeats what may be repeated (see `HttpRequest.repeatable`) after a broken connection or an answer that means
 * "not now", with exponential back-off and full jitter; `Retry-After` is a floor.
 */
export function withRetry(send: Send, options: RetryOptions = {}): Send {
  return async (request) => {
    const repeatable = request.repeatable ?? (request.method === 'GET' || request.method === 'HEAD');
    for (let attempt = 1; ; attempt += 1) {
      const outcome = await attemptOnce(send, request);
      // What a caller aborts with may look like a broken connection.
      if ('error' in outcome) request.signal?.throwIfAborted();
      if (!repeatable || attempt === MAX_ATTEMPTS || !isRetryable(outcome)) return unwrap(outcome, attempt);
      const floorMs = 'response' in outcome ? retryAfterMs(outcome.response) : undefined;
      if (!isWorthWaiting(floorMs)) return unwrap(outcome, attempt);
      if ('response' in outcome) await outcome.response.discard();
      await pauseBeforeRetry(attempt, floorMs, request.signal, options);
    }
  };
}

/** Whether a pause that a server asks for is short enough to wait for. */
export function isWorthWaiting(floorMs: number | undefined): boolean {
  return floorMs === undefined || floorMs <= MAX_RETRY_AFTER_MS;
}

/** Waits after failed attempt number `attempt`, from 1: back-off with full jitter, on top of what the server asks for. */
export async function pauseBeforeRetry(
  attempt: number,
  floorMs: number | undefined,
  signal: AbortSignal | undefined,
  options: RetryOptions,
): Promise<void> {
  const ceilingMs = Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** (attempt - 1));
  await (options.sleep ?? sleep)((floorMs ?? 0) + (options.random ?? Math.random)() * ceilingMs, signal);
}

async function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    // The timer rejects with an error of its own.
    signal?.throwIfAborted();
    throw error;
  }
}

/** Milliseconds of a `Retry-After` header in seconds or as a date. @see RFC 9110, section 10.2.3 */
export function retryAfterMs(response: HttpResponse): number | undefined {
  const value = response.header('retry-after');
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}

type Outcome = { readonly response: HttpResponse } | { readonly error: unknown };

async function attemptOnce(send: Send, request: HttpRequest): Promise<Outcome> {
  try {
    return { response: await send(request) };
  } catch (error) {
    return { error };
  }
}

function isRetryable(outcome: Outcome): boolean {
  if ('response' in outcome) return RETRYABLE_STATUSES.has(outcome.response.status);
  // A certificate that is wrong stays wrong; a port where nobody listens is told at once.
  if (!(outcome.error instanceof TransportError)) return false;
  const cause = outcome.error.cause;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return !/^(ECONNREFUSED|ENOTFOUND|CERT_|ERR_TLS|ERR_SSL|EPROTO|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|UND_ERR_INVALID|UND_ERR_REQ_CONTENT|UND_ERR_DESTROYED|UND_ERR_CLOSED)/.test(
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
