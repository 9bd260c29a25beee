import { openerOf } from '../io/bytes.js';
import type { HttpResponse, RateLimit } from './send.js';

const MAX_ERROR_BODY_BYTES = 64 * 1024;
/** GitHub asks for a minute or more after its secondary limit, without saying so in every answer. */
const SECONDARY_LIMIT_MS = 60_000;
/** In 2001; nobody asks to wait for thirty years. */
const FIRST_TIME_OF_DAY_S = 1e9;

/**
 * Reads whether an answer is a rate limit: 429; 503 that names a time; 403 that says so in its body or headers, as
 * GitHub does. The body of such an answer is read for what GHCR writes there
 * (`retry-after: 10.3ms, allowed: 2000/minute`), so the answer returned has to be used from then on.
 * @param now milliseconds since 1970, for times that are dates
 * @see ghcr/G1, ghcr/G4
 */
export async function readRateLimit(
  response: HttpResponse,
  now: number,
): Promise<{ readonly response: HttpResponse; readonly limit: RateLimit | undefined }> {
  const { status } = response;
  if (status !== 429 && status !== 403 && status !== 503) return { response, limit: undefined };
  const body = await readErrorBody(response);
  const kept = withBody(response, body);
  const text = Buffer.from(body).toString('utf8');
  const isSecondary = /secondary rate limit/i.test(text);
  const isLimit =
    status === 429 ||
    isSecondary ||
    /"TOOMANYREQUESTS"/.test(text) ||
    response.header('x-ratelimit-remaining') === '0' ||
    (status === 503 && response.header('retry-after') !== undefined);
  if (!isLimit) return { response: kept, limit: undefined };
  const retryAfterMs =
    retryAfterOf(response.header('retry-after'), now) ??
    retryAfterInText(text) ??
    resetOf(response, now) ??
    (isSecondary ? SECONDARY_LIMIT_MS : undefined);
  return { response: kept, limit: { retryAfterMs, requestsPerMinute: allowedInText(text) } };
}

/**
 * How long to hold back after an answer that used up what its `RateLimit-*` headers allow; `undefined` where there is
 * something left. Shapes: `ratelimit-remaining: 0`, `0;w=21600`; `ratelimit-reset: 30` in seconds or as a time of day;
 * both with `x-` too.
 */
export function exhaustedForMs(response: HttpResponse, now: number): number | undefined {
  const remaining = response.header('ratelimit-remaining') ?? response.header('x-ratelimit-remaining');
  return remaining !== undefined && /^0+(?:;|$)/.test(remaining.trim()) ? resetOf(response, now) : undefined;
}

/** Milliseconds of a `Retry-After` value, in seconds or as a date. @see RFC 9110, section 10.2.3 */
export function retryAfterOf(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+(?:\.\d+)?$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  µs: 1e-3,
  us: 1e-3,
  // The Greek letter, which looks the same.
  '\u03bcs': 1e-3,
  ms: 1,
  s: 1e3,
  m: 6e4,
  h: 3.6e6,
};

/** Durations as Go writes them: `10.3ms`, `1m30s`, `245.6µs`. */
function retryAfterInText(text: string): number | undefined {
  const duration = /retry-after:\s*((?:\d+(?:\.\d+)?(?:ns|us|µs|\u03bcs|ms|s|m|h))+)/i.exec(text)?.[1];
  if (duration === undefined) return undefined;
  let ms = 0;
  for (const [, number, unit = ''] of duration
    .toLowerCase()
    .matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|\u03bcs|ms|s|m|h)/g)) {
    ms += Number(number) * (UNIT_MS[unit] ?? 0);
  }
  return Math.ceil(ms);
}

/** `allowed: 2000/minute`, as requests per minute. */
function allowedInText(text: string): number | undefined {
  const [, number, unit] = /allowed:\s*(\d+)\/(second|minute|hour)/i.exec(text) ?? [];
  const perMinute = { second: 60, minute: 1, hour: 1 / 60 }[unit?.toLowerCase() ?? ''];
  return perMinute === undefined || Number(number) === 0 ? undefined : Number(number) * perMinute;
}

function resetOf(response: HttpResponse, now: number): number | undefined {
  const value = response.header('ratelimit-reset') ?? response.header('x-ratelimit-reset') ?? '';
  const seconds = Number(/^\d+/.exec(value.trim())?.[0] ?? NaN);
  if (Number.isNaN(seconds)) return undefined;
  // Which of the two it is does not go by the name: GitLab sends a time of day in `ratelimit-reset`.
  return seconds < FIRST_TIME_OF_DAY_S ? seconds * 1000 : Math.max(0, seconds * 1000 - now);
}

/**
 * Reads of an answer that means failure as much as may be of use: 64 KiB, or what came before it broke off. Never throws,
 * since the status is what counts.
 */
export async function readErrorBody(response: HttpResponse): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size >= MAX_ERROR_BODY_BYTES) break;
    }
  } catch {
    // What came so far may say enough.
  }
  return Buffer.concat(chunks);
}

/** The same answer with its body at hand. */
export function withBody(response: HttpResponse, body: Uint8Array): HttpResponse {
  return {
    status: response.status,
    url: response.url,
    header: (name) => response.header(name),
    body: openerOf(body)(),
    discard: () => Promise.resolve(),
  };
}
