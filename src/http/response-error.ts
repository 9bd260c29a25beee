import { ResponseError, type FerryErrorCode, type RegistryErrorDetail } from '../errors.js';
import { redactText, redactUrl } from '../io/redact.js';
import { adviceError } from './advice.js';
import { parseChallenges } from './challenge.js';
import { readErrorBody } from './rate-limit.js';
import { retryAfterMs } from './retry.js';
import type { HttpRequest, HttpResponse } from './send.js';

const MAX_DETAIL_CHARACTERS = 300;
const MAX_DETAILS = 5;

/** Makes an error of an answer that means failure, reading a bounded part of its body. */
export async function responseError(
  request: HttpRequest,
  response: HttpResponse,
  hint?: string,
): Promise<ResponseError> {
  const text = Buffer.from(await readErrorBody(response)).toString('utf8');
  const errors = parseErrors(text);
  request.signal?.throwIfAborted();
  const url = redactUrl(request.url);
  const message = `${request.method} ${url} ${describeAnswer(response.status, errors)}`;
  const code = codeOf(response, errors);
  return new ResponseError(
    code,
    message,
    { method: request.method, url, status: response.status, errors, retryAfterMs: retryAfterMs(response) },
    { cause: adviceError(code, response.advice), hint: hint ?? hintOf(request, response, errors, text) },
  );
}

/** Such as `answered 403 (DENIED: no such thing)`. */
export function describeAnswer(status: number, errors: readonly RegistryErrorDetail[]): string {
  const details = errors.map(({ code, message }) => [code, message].filter(Boolean).join(': ')).join('; ');
  return `answered ${String(status)}${details === '' ? '' : ` (${details})`}`;
}

/** The code that an answer's status and error body stand for. */
function codeOf({ status, rateLimit }: HttpResponse, errors: readonly RegistryErrorDetail[]): FerryErrorCode {
  if (rateLimit !== undefined) return 'RATE_LIMITED';
  if (errors.some((error) => error.code === 'MANIFEST_BLOB_UNKNOWN')) return 'MANIFEST_BLOB_UNKNOWN';
  if (status === 429 || errors.some((error) => error.code === 'TOOMANYREQUESTS')) return 'RATE_LIMITED';
  if (status === 401) return 'UNAUTHORIZED';
  if (status === 403) return 'DENIED';
  if (status === 404 || status === 410) return 'NOT_FOUND';
  if (status === 405) return 'UNSUPPORTED';
  if (errors.some((error) => error.code === 'DIGEST_INVALID')) return 'DIGEST_MISMATCH';
  return 'REGISTRY_REFUSED';
}

/** What GitHub says to a token of a workflow, and what there is to do about it. @see ghcr/G8 */
const UNLINKED_HINT =
  'link the package to the repository that the token belongs to: on its page under "Package settings", "Manage Actions access", or by a first push that carries org.opencontainers.image.source';

function hintOf(
  request: HttpRequest,
  response: HttpResponse,
  errors: readonly RegistryErrorDetail[],
  text: string,
): string | undefined {
  if (errors.some(({ message }) => message.includes('permission_denied: write_package')))
    return UNLINKED_HINT;
  if (errors.some(({ message }) => message.includes('does not match expected scopes'))) {
    return 'give a token with the scope write:packages';
  }
  const waitMs = retryAfterMs(response);
  if (response.rateLimit !== undefined && waitMs !== undefined) {
    return `the server asks to wait ${String(Math.ceil(waitMs / 1000))} s before the next request`;
  }
  // What Go's server and nginx say of themselves.
  if (response.status === 400 && /HTTP request (?:to an HTTPS server|was sent to HTTPS port)/i.test(text)) {
    return 'the server speaks TLS: leave out --plain-http, or pass --no-plain-http for a loopback host';
  }
  if (response.advice !== undefined) return response.advice.hint;
  if (response.status !== 401 || request.givenBy !== undefined) return undefined;
  const schemes = parseChallenges(response.header('www-authenticate') ?? '').map(({ scheme }) => scheme);
  if (schemes.length > 0 && !schemes.includes('basic') && !schemes.includes('bearer')) {
    return `\`${request.url.host}\` takes ${schemes.join(', ')} authentication only, which is not supported`;
  }
  return `log in with conda-ferry login ${request.url.host}`;
}

/** Reads `{"errors":[{"code","message"}]}`; any other text is no error list. */
function parseErrors(text: string): RegistryErrorDetail[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return [];
  }
  if (typeof document !== 'object' || document === null || !('errors' in document)) return [];
  if (!Array.isArray(document.errors)) return [];
  return document.errors.slice(0, MAX_DETAILS).flatMap((entry: unknown): RegistryErrorDetail[] => {
    if (typeof entry !== 'object' || entry === null) return [];
    const { code, message } = entry as { code?: unknown; message?: unknown };
    return [{ code: clean(code), message: clean(message) }];
  });
}

function clean(value: unknown): string {
  return typeof value === 'string' ? redactText(value).slice(0, MAX_DETAIL_CHARACTERS) : '';
}
