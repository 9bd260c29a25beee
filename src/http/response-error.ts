import { ResponseError, type FerryErrorCode, type RegistryErrorDetail } from '../errors.js';
import { redactUrl } from '../io/redact.js';
import { retryAfterMs } from './retry.js';
import type { HttpRequest, HttpResponse } from './send.js';

const MAX_ERROR_BODY_BYTES = 8 * 1024;
const MAX_DETAIL_CHARACTERS = 300;
const MAX_DETAILS = 5;

/** Makes an error of an answer that means failure, reading a bounded part of its body. */
export async function responseError(
  request: HttpRequest,
  response: HttpResponse,
  hint?: string,
): Promise<ResponseError> {
  const errors = await readErrors(response);
  request.signal?.throwIfAborted();
  const url = redactUrl(request.url);
  const detail = errors.map((error) => [error.code, error.message].filter(Boolean).join(': ')).join('; ');
  const message = `${request.method} ${url} answered ${String(response.status)}`;
  return new ResponseError(
    codeOf(response.status, errors),
    detail === '' ? message : `${message} (${detail})`,
    { method: request.method, url, status: response.status, errors, retryAfterMs: retryAfterMs(response) },
    { hint: hint ?? hintOf(response) },
  );
}

/** The code that an answer's status and error body stand for. */
function codeOf(status: number, errors: readonly RegistryErrorDetail[]): FerryErrorCode {
  if (errors.some((error) => error.code === 'MANIFEST_BLOB_UNKNOWN')) return 'MANIFEST_BLOB_UNKNOWN';
  if (status === 429 || errors.some((error) => error.code === 'TOOMANYREQUESTS')) return 'RATE_LIMITED';
  if (status === 401) return 'UNAUTHORIZED';
  if (status === 403) return 'DENIED';
  if (status === 404 || status === 410) return 'NOT_FOUND';
  if (status === 405) return 'UNSUPPORTED';
  if (errors.some((error) => error.code === 'DIGEST_INVALID')) return 'DIGEST_MISMATCH';
  return 'REGISTRY_REFUSED';
}

function hintOf(response: HttpResponse): string | undefined {
  if (response.status !== 401) return undefined;
  const scheme = /^\w+/.exec(response.header('www-authenticate') ?? '')?.[0]?.toLowerCase();
  return scheme === 'bearer'
    ? 'this registry asks for bearer tokens, which this version cannot fetch yet'
    : 'CONDA_FERRY_USERNAME and CONDA_FERRY_PASSWORD go to the destination of a mirror, and to no other server';
}

async function readErrors(response: HttpResponse): Promise<RegistryErrorDetail[]> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size >= MAX_ERROR_BODY_BYTES) break;
    }
  } catch {
    // The status is what counts; a body that breaks off adds nothing.
    return [];
  }
  return parseErrors(Buffer.concat(chunks).toString('utf8'));
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

// Text of a server ends up in terminals and logs: one line, nothing invisible, no secrets of URLs, bounded.
function clean(value: unknown): string {
  if (typeof value !== 'string') return '';
  return value
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/\bhttps?:\/\/[^\s"'`<>]+/gi, redactUrl)
    .slice(0, MAX_DETAIL_CHARACTERS);
}
