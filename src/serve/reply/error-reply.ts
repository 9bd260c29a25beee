import {
  isFerryError,
  isSystemError,
  messageOf,
  type FerryError,
  type FerryErrorCode,
} from '../../errors.js';
import { redactText } from '../../io/redact.js';

/** What a client is told of an error. */
export interface Failure {
  readonly status: 404 | 500 | 502 | 503;
  /** Of the table in `docs/errors.md`. */
  readonly code: FerryErrorCode;
  /** One line, without secrets and paths on this machine. */
  readonly message: string;
  readonly hint?: string | undefined;
  /** With 503 only. */
  readonly retryAfterSeconds?: number | undefined;
}

/** Options of {@link describeFailure}. */
export interface FailureOptions {
  /**
   * Whether the channel says that what is asked for is there. Then it is never 404: a client would take it for gone, and
   * solve without it.
   */
  readonly listed: boolean;
}

/** Of a limit that does not say how long it lasts; GitHub asks for a minute or more. */
const DEFAULT_LIMIT_SECONDS = 60;
/** What is wrong with a store seldom mends itself; somebody may. */
const BAD_SECONDS = 60;
/** What ends by itself, nobody knows when. */
const DEFAULT_RETRY_SECONDS = 10;
/** Whatever a registry asks for, clients may try again after that. */
const MAX_RETRY_SECONDS = 3600;
const MAX_MESSAGE_LENGTH = 1000;

const PASSING: ReadonlySet<FerryErrorCode> = new Set([
  'RATE_LIMITED',
  'NETWORK',
  'TIMEOUT',
  'LOCK_TIMEOUT',
  'LOCK_LOST',
  'DISK_FULL',
]);
/** Not there, or nothing that could be there. */
const ABSENT: ReadonlySet<FerryErrorCode> = new Set([
  'NOT_FOUND',
  'ARCHIVE_ABSENT',
  'ATTESTATION_ABSENT',
  'CHANNEL_NOT_FOUND',
  'CHANNEL_INVALID',
  'DIGEST_INVALID',
  'NAME_UNREPRESENTABLE',
  'REFERENCE_INVALID',
]);
const OWN_FAULT: ReadonlySet<FerryErrorCode> = new Set(['INTERNAL', 'USAGE']);

/**
 * Says what an error is to a client. What passes is 503 with a time to try again, a rate limit too: upstream's 429 is not
 * the client's doing. What is absent is 404, unless it is listed. Anything else that the store gave is 502, and what nobody
 * thought of is 500, without a word of it.
 */
export function describeFailure(error: unknown, { listed }: FailureOptions): Failure {
  if (!isFerryError(error)) return describeForeign(error);
  const { code } = error;
  if (OWN_FAULT.has(code)) return UNKNOWN_FAULT;
  const told = {
    code,
    message: forClients(messageOf(error)),
    ...(error.hint === undefined ? {} : { hint: forClients(error.hint) }),
  };
  if (PASSING.has(code)) return { ...told, status: 503, retryAfterSeconds: retryAfterOf(error) };
  if (ABSENT.has(code) && !listed) return { ...told, status: 404 };
  return { ...told, status: 502, retryAfterSeconds: BAD_SECONDS };
}

/**
 * Replies with an error: one line of code, message and hint as plain text; nobody may keep it.
 * @see {@link describeFailure}
 */
export function replyWithError(request: Request, error: unknown, options: FailureOptions): Response {
  const { status, code, message, hint, retryAfterSeconds } = describeFailure(error, options);
  const body = Buffer.from(`${code}: ${message}${hint === undefined ? '' : `; ${hint}`}\n`);
  const headers: Record<string, string> = {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': String(body.byteLength),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  };
  if (retryAfterSeconds !== undefined) headers['retry-after'] = String(retryAfterSeconds);
  return new Response(request.method === 'HEAD' ? null : body, { status, headers });
}

const UNKNOWN_FAULT: Failure = { status: 500, code: 'INTERNAL', message: 'something went wrong in here' };

/** What Node and the system throw. */
function describeForeign(error: unknown): Failure {
  const retryAfterSeconds = DEFAULT_RETRY_SECONDS;
  // Our own time limits, and a server that is about to stop.
  if (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')) {
    return { status: 503, code: 'TIMEOUT', message: 'it was not there in time', retryAfterSeconds };
  }
  if (isSystemError(error, 'ENOSPC', 'EDQUOT')) {
    return { status: 503, code: 'DISK_FULL', message: 'no room left on the disk', retryAfterSeconds };
  }
  if (isSystemError(error, 'EMFILE', 'ENFILE')) {
    return { status: 503, code: 'INTERNAL', message: 'too many files are open', retryAfterSeconds };
  }
  return UNKNOWN_FAULT;
}

function retryAfterOf(error: FerryError): number {
  const ms = retryAfterMsOf(error);
  if (ms === undefined) return error.code === 'RATE_LIMITED' ? DEFAULT_LIMIT_SECONDS : DEFAULT_RETRY_SECONDS;
  return Math.min(MAX_RETRY_SECONDS, Math.max(1, Math.ceil(ms / 1000)));
}

/** What the server said, wherever in the chain its answer is. */
function retryAfterMsOf(error: unknown): number | undefined {
  if (!isFerryError(error)) return undefined;
  if ('retryAfterMs' in error && typeof error.retryAfterMs === 'number') return error.retryAfterMs;
  return retryAfterMsOf(error.cause);
}

// URLs first, so that their paths are not taken for files.
const URL_OR_PATH = new RegExp(
  [
    String.raw`(?<url>\b(?:https?|oci|docker):\/\/[^\s"'\`<>]+)`,
    String.raw`\b(?:oci-layout|file):[^\s"'\`<>]+`,
    // In quotes it may have spaces.
    String.raw`(?<=(?<quote>["'\`]))(?:[A-Za-z]:|~|\.{1,2})?[\\/](?:(?!\k<quote>).)*`,
    String.raw`(?<![\w)\]/.~-])(?:[A-Za-z]:|~|\.{1,2})?[\\/][^\s"'\`<>]+`,
  ].join('|'),
  'g',
);

/** Makes a message fit for strangers: one line, no secrets, nothing of where files lie on this machine. */
function forClients(text: string): string {
  const told = redactText(text.replace(URL_OR_PATH, (match, url?: string) => url ?? '[path]'));
  return told.length > MAX_MESSAGE_LENGTH ? `${told.slice(0, MAX_MESSAGE_LENGTH - 1)}…` : told;
}
