/**
 * Every error this project throws on purpose: one base class with a stable code, and few subclasses that
 * add fields. Codes are public API; messages are not, and nothing may match on them.
 */

/** What each code means; the table in `docs/errors.md` is checked against it. */
export const ERROR_CODES = {
  ARCHIVE_EMPTY: 'the archive has no bytes',
  ARCHIVE_TRUNCATED: 'the archive, or a tarball inside it, ends early',
  ARCHIVE_CORRUPT: 'a checksum or a frame inside the archive is wrong',
  ARCHIVE_NOT_CONDA: 'the bytes are not of the format that the file name says',
  ARCHIVE_ENTRY_COMPRESSED: 'a zip member of a `.conda` is not stored but compressed or encrypted',
  ARCHIVE_ENTRY_UNEXPECTED: 'a `.conda` has a zip member that it must not have',
  ARCHIVE_ENTRY_MISSING: 'a `.conda` lacks a zip member that it must have',
  ARCHIVE_FORMAT_VERSION: '`metadata.json` of a `.conda` names an unknown format version',
  ARCHIVE_PATH_UNSAFE: 'a member path is absolute, leaves the archive or passes through a link',
  ARCHIVE_LINK_UNSAFE: 'a link in `info/` points out of `info/`, or one of the payload out of the package',
  ARCHIVE_MEMBER_TYPE: 'a member is neither file, directory nor link',
  ARCHIVE_LIMIT_EXCEEDED: 'the archive unpacks to more than the limits allow',
  ARCHIVE_EXISTS: 'another archive, or something else, of the same name is stored already',
  ARCHIVE_FAULTY: 'an archive breaks rules that packages must keep, and is not published',
  ARCHIVE_REMOVED: 'an archive of that name was yanked, and stays so',
  ARCHIVE_INDEX_MISSING: 'there is no `info/index.json`',
  ARCHIVE_INDEX_INVALID: '`info/index.json` is not what CEP 34 asks for',
  ARCHIVE_INDEX_MISMATCH: '`info/index.json` disagrees with the file name or the repodata record',
  ARCHIVE_SUBDIR_MISMATCH: '`info/index.json` names another subdir',
  ARCHIVE_ABSENT: 'the source lists an archive that it does not have',
  ATTESTATION_ABSENT: 'a record names an attestation sidecar that the source does not have',
  ATTESTATION_MISMATCH: 'an attestation sidecar does not have the digest that its record names',
  BUNDLE_BASE_MISMATCH: 'the destination is not in the state that the bundle goes on from',
  BUNDLE_INVALID: 'a bundle cannot be read, or is not finished',
  CHANNEL_INVALID: 'a channel location cannot be read as one',
  CHANNEL_NOT_FOUND: 'there is no channel at that location',
  CREDENTIALS_UNREADABLE: 'a credential file or helper does not give what it should',
  DENIED: 'the server refused the request for lack of rights',
  DIGEST_INVALID: 'a digest is not of the form `algorithm:hex`',
  DIGEST_MISMATCH: 'bytes do not have the digest they should have',
  DISK_FULL: 'the disk has no room left',
  FOREIGN_RECORDS: 'the destination lists packages that this mirror did not put there',
  INTERNAL: 'a fault of conda-ferry itself',
  LAYOUT_INVALID: 'a folder is not a readable OCI image layout',
  LEDGER_INVALID: 'a ledger cannot be read',
  LISTEN_FAILED: 'the gateway cannot listen at the address it was given',
  LOCK_FILE_INVALID: 'a lock file of conda-lock, pixi or conda cannot be read',
  LOCK_LOST: 'a lock was taken over by another process',
  LOCK_TIMEOUT: 'a lock was not to be had in time',
  MANIFEST_BLOB_UNKNOWN: 'the store does not have a blob that the manifest names',
  MANIFEST_INVALID: 'a manifest is not what the image specification asks for',
  MANIFEST_TOO_LARGE: 'a manifest is larger than the registry takes',
  MATCH_SPEC_INVALID: 'a match spec cannot be read',
  NAME_UNREPRESENTABLE: 'the schema or the registry cannot hold this name',
  NETWORK: 'no answer came for a reason of the network',
  NOT_FOUND: 'the server has no such thing',
  OPERATION_INVALID: 'an operation in the log of a published channel cannot be read',
  OUTPUT_UNWRITABLE: 'an archive cannot be written, or unpacked, where it was asked for',
  PLAN_INVALID: 'a plan cannot be read, or is of another channel',
  PLAN_STALE: 'the channel was published anew since the plan was made, or the plan is of another one',
  QUEUE_FULL: 'the Redis of a queue has no memory left for the jobs of a run',
  QUEUE_LOST: 'the jobs of a run vanish from Redis again and again',
  QUEUE_REFUSED: 'the Redis of a queue refuses the user name or the password',
  QUEUE_UNFIT: 'the Redis of a queue is not set up as it has to be',
  QUEUE_UNREACHABLE: 'no Redis answers',
  RATE_LIMITED: 'the server asks for fewer requests',
  RECORD_INVALID: 'a repodata record cannot be used',
  REFERENCE_INVALID: 'a reference, repository name or tag breaks the grammar',
  REGISTRY_REFUSED: 'the registry answered with an error',
  REPODATA_INVALID: 'a repodata file cannot be read',
  ROLE_MISMATCH: 'the channel is a mirror and not published to, or the other way round',
  ROLLED_BACK: 'the channel was rolled back, and is held there',
  RUN_UNFINISHED: 'a mirror run of the channel has not ended',
  REPORT_INVALID: 'a file is no record of a run',
  REPORT_UNWRITABLE: 'a report, plan or list cannot be written',
  SIZE_EXCEEDED: 'more bytes came than were allowed',
  SIZE_MISMATCH: 'bytes are not as many as they should be',
  SOURCE_OLDER: "the source's repodata is older than what was mirrored last",
  SOURCE_UNREADABLE: 'the source has a file that cannot be read',
  SOURCE_VANISHED: 'the source lists nothing of what was mirrored last',
  SCHEMA_CONFLICT: 'a channel of another schema stands at that path',
  TAG_MOVED: 'a tag was moved by somebody else while it was worked on',
  TIMEOUT: 'no answer came in time',
  TWIN_UNREPRESENTABLE: 'the schema holds only the `.conda` where an archive exists in both formats',
  UNAUTHORIZED: 'the server asks for credentials',
  UNSUPPORTED: 'the server or this version cannot do that',
  USAGE: 'the command line cannot be read',
  VERSION_MISMATCH: 'coordinator and worker of a queue are not of one version',
  WORKER_LOST: 'workers ended without a word over an archive, again and again',
} as const;

/** Stable error code, such as `DIGEST_MISMATCH`. */
export type FerryErrorCode = keyof typeof ERROR_CODES;

/** What an error may carry besides its message. */
export interface FerryErrorOptions {
  readonly cause?: unknown;
  /** The next step, imperative, where it is truly known. */
  readonly hint?: string | undefined;
}

// Two copies of this library in one program still know each other's errors.
const BRAND = Symbol.for('conda-ferry.error');

/** Base of all errors of this project. Shape: `message` is one line, lower case, no final period. */
export class FerryError extends Error {
  override readonly name: string = 'FerryError';
  readonly code: FerryErrorCode;
  readonly hint: string | undefined;
  readonly [BRAND] = true;

  constructor(code: FerryErrorCode, message: string, options: FerryErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** Text from outside that cannot be read. `position` counts characters from 0. */
export class ParseError extends FerryError {
  override readonly name = 'ParseError';
  /** The refused text, shortened to 100 characters. */
  readonly input: string;
  readonly position: number | undefined;

  constructor(
    code: FerryErrorCode,
    message: string,
    input: string,
    options: FerryErrorOptions & { readonly position?: number } = {},
  ) {
    super(code, message, options);
    this.input = input.length > 100 ? `${input.slice(0, 99)}…` : input;
    this.position = options.position;
  }
}

/** A package that a schema or a registry cannot hold. */
export class UnrepresentableError extends FerryError {
  override readonly name = 'UnrepresentableError';
  /** The clause that rules it out, such as `v1/N2`. */
  readonly clause: string;

  constructor(
    code: 'NAME_UNREPRESENTABLE' | 'TWIN_UNREPRESENTABLE',
    clause: string,
    message: string,
    options: FerryErrorOptions = {},
  ) {
    super(code, message, options);
    this.clause = clause;
  }
}

/** Bytes that are not what they should be. */
export class IntegrityError extends FerryError {
  override readonly name = 'IntegrityError';
  readonly expected: string;
  readonly actual: string;

  constructor(
    code: 'DIGEST_MISMATCH' | 'SIZE_MISMATCH' | 'SIZE_EXCEEDED',
    what: string,
    expected: string | number,
    actual: string | number,
  ) {
    super(code, integrityMessage(code, what, String(expected), String(actual)));
    this.expected = String(expected);
    this.actual = String(actual);
  }
}

function integrityMessage(code: string, what: string, expected: string, actual: string): string {
  if (code === 'DIGEST_MISMATCH') return `${what} has digest ${actual} instead of ${expected}`;
  if (code === 'SIZE_MISMATCH') return `${what} has ${actual} bytes instead of ${expected}`;
  return `${what} has more than the allowed ${expected} bytes`;
}

/** One entry of a registry's error body. @see distribution-spec v1.1.1, "Error codes" */
export interface RegistryErrorDetail {
  readonly code: string;
  readonly message: string;
}

/** An answer of a server that means failure. `url` is redacted. */
export class ResponseError extends FerryError {
  override readonly name = 'ResponseError';
  readonly method: string;
  readonly url: string;
  readonly status: number;
  readonly errors: readonly RegistryErrorDetail[];
  readonly retryAfterMs: number | undefined;

  constructor(
    code: FerryErrorCode,
    message: string,
    response: {
      readonly method: string;
      readonly url: string;
      readonly status: number;
      readonly errors?: readonly RegistryErrorDetail[];
      readonly retryAfterMs?: number | undefined;
    },
    options: FerryErrorOptions = {},
  ) {
    super(code, message, options);
    this.method = response.method;
    this.url = response.url;
    this.status = response.status;
    this.errors = response.errors ?? [];
    this.retryAfterMs = response.retryAfterMs;
  }
}

/** No answer at all: connection, TLS, name look-up, time limit. `url` is redacted. */
export class TransportError extends FerryError {
  override readonly name = 'TransportError';
  readonly method: string;
  readonly url: string;
  readonly attempts: number;

  constructor(
    code: 'NETWORK' | 'TIMEOUT',
    message: string,
    request: { readonly method: string; readonly url: string; readonly attempts: number },
    options: FerryErrorOptions = {},
  ) {
    super(code, message, options);
    this.method = request.method;
    this.url = request.url;
    this.attempts = request.attempts;
  }
}

/** A copy that failed, with the side that was at fault. Its code is that of its cause. */
export class CopyError extends FerryError {
  override readonly name = 'CopyError';
  readonly side: 'source' | 'destination';

  constructor(side: 'source' | 'destination', message: string, cause: FerryError) {
    super(cause.code, message, { cause, hint: cause.hint });
    this.side = side;
  }
}

/** Tells whether `error` is a {@link FerryError}, of that code if one is given. */
export function isFerryError(error: unknown, code?: FerryErrorCode): error is FerryError {
  return (
    typeof error === 'object' &&
    error !== null &&
    BRAND in error &&
    (code === undefined || (error as FerryError).code === code)
  );
}

/** Tells whether `error` is a Node system error of that code, such as `ENOENT`. */
export function isSystemError(error: unknown, ...codes: readonly string[]): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  return typeof error.code === 'string' && codes.includes(error.code);
}

/** The message with what lies behind it, on one line. */
export function messageOf(error: FerryError): string {
  const cause = error.cause;
  return isFerryError(cause) ? `${error.message}: ${messageOf(cause)}` : error.message;
}
