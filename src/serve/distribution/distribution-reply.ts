import { encodeJson } from '../../oci/manifest.js';
import { describeFailure } from '../reply/error-reply.js';

/** Codes of error bodies. @see distribution-spec v1.1.1, "Error Codes"; the last three are not in it */
export type DistributionErrorCode =
  | 'BLOB_UNKNOWN'
  | 'BLOB_UPLOAD_UNKNOWN'
  | 'DIGEST_INVALID'
  | 'MANIFEST_UNKNOWN'
  | 'NAME_INVALID'
  | 'NAME_UNKNOWN'
  | 'TAG_INVALID'
  | 'UNSUPPORTED'
  | 'PAGINATION_NUMBER_INVALID'
  | 'UNAVAILABLE'
  | 'UNKNOWN';

/** Headers of every answer below `/v2/`. What comes out of a store is never to be taken for a page of this server. */
export const COMMON_HEADERS: Readonly<Record<string, string>> = {
  'docker-distribution-api-version': 'registry/2.0',
  'x-content-type-options': 'nosniff',
};

/** Options of {@link replyWithJson}. */
export interface JsonReplyOptions {
  /** @defaultValue 200 */
  readonly status?: number | undefined;
  /** More headers; they go before the common ones. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Replies with a document; to HEAD without it. */
export function replyWithJson(request: Request, document: unknown, options: JsonReplyOptions = {}): Response {
  const body = encodeJson(document);
  const headers = {
    ...COMMON_HEADERS,
    'content-type': 'application/json',
    'cache-control': 'no-store',
    ...options.headers,
    'content-length': String(body.byteLength),
  };
  return new Response(request.method === 'HEAD' ? null : body, { status: options.status ?? 200, headers });
}

/** An error as a reply has it. */
export interface DistributionError {
  readonly status: number;
  readonly code: DistributionErrorCode;
  readonly message: string;
  readonly detail?: unknown;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** Replies with `{"errors":[{"code":"…","message":"…"}]}`. @see distribution-spec v1.1.1, "Error Codes" */
export function replyWithDistributionError(request: Request, error: DistributionError): Response {
  const { status, headers, ...entry } = error;
  return replyWithJson(request, { errors: [entry] }, { status, headers });
}

/**
 * Replies with what a store failed with. A limit or an outage of the registry behind us is 503 and never 429.
 * @param absent code for what is not there
 */
export function replyWithFailure(request: Request, error: unknown, absent: DistributionErrorCode): Response {
  const failure = describeFailure(error, { listed: false });
  const { status, message, hint, retryAfterSeconds } = failure;
  return replyWithDistributionError(request, {
    status,
    code: status === 404 ? absent : status === 503 ? 'UNAVAILABLE' : 'UNKNOWN',
    message,
    detail: { code: failure.code, ...(hint === undefined ? {} : { hint }) },
    headers: retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) },
  });
}
