import { FerryError, ResponseError, TransportError } from '../errors.js';
import { resolveServerUrl } from '../http/redirect.js';
import { responseError } from '../http/response-error.js';
import { isWorthWaiting, pauseBeforeRetry, type RetryOptions } from '../http/retry.js';
import type { HttpRequest, Send } from '../http/send.js';
import { noteFailure, type NotedFailure, type OpenBytes } from '../io/bytes.js';
import type { Descriptor } from '../oci/descriptor.js';

/** A failed upload spoils its session on many registries, so the unit that is repeated is the whole upload. */
const MAX_ATTEMPTS = 3;

/** What {@link uploadBlob} needs. */
export interface BlobUpload {
  readonly send: Send;
  /** `…/v2/<name>/blobs/uploads/` */
  readonly uploadsUrl: URL;
  readonly descriptor: Descriptor;
  readonly open: OpenBytes;
  readonly signal?: AbortSignal | undefined;
  /** Asks whether the blob is there, after an upload whose outcome is open. */
  readonly exists: () => Promise<boolean>;
  readonly retry: RetryOptions;
}

/**
 * Uploads a blob in one piece: POST for a session, PUT with everything. The registry checks the digest. After an
 * outcome that is not known, or an answer that means "not now", it waits, asks, and starts over with bytes opened anew.
 * @throws ResponseError, TransportError; what `open` throws, unchanged; IntegrityError if it gives too few or too many
 * bytes
 * @see distribution-spec v1.1.1, "POST then PUT"
 */
export async function uploadBlob(upload: BlobUpload): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    // Nothing is uncertain about a session that did not start; `send` has repeated it where that helps.
    const url = await startSession(upload);
    const failure: NotedFailure = {};
    try {
      await putBlob(upload, url, failure);
      return;
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || error === failure.error || !isUncertain(error)) throw error;
      const floorMs = error instanceof ResponseError ? error.retryAfterMs : undefined;
      if (!isWorthWaiting(floorMs)) throw error;
      await pauseBeforeRetry(attempt, floorMs, upload.signal, upload.retry);
      if (await upload.exists()) return;
    }
  }
}

/** Starts an upload session; its answer is where the bytes go. */
async function startSession(upload: BlobUpload): Promise<URL> {
  const { send, signal } = upload;
  const start: HttpRequest = {
    method: 'POST',
    url: upload.uploadsUrl,
    signal,
    // A second session is harmless; the registry forgets the first.
    repeatable: true,
  };
  const session = await send(start);
  if (session.status !== 202) throw await responseError(start, session);
  const location = session.header('location');
  await session.discard();
  if (location === undefined) {
    throw new FerryError('REGISTRY_REFUSED', `\`${upload.uploadsUrl.host}\` named no place for the upload`);
  }
  return uploadUrl(location, upload.uploadsUrl, upload.descriptor);
}

async function putBlob(upload: BlobUpload, url: URL, failure: NotedFailure): Promise<void> {
  const { send, descriptor, signal } = upload;
  const put: HttpRequest = {
    method: 'PUT',
    url,
    headers: { 'content-type': 'application/octet-stream' },
    body: { size: descriptor.size, open: (options) => noteFailure(() => upload.open(options), failure) },
    signal,
  };
  const done = await send(put);
  if (![200, 201, 204].includes(done.status)) throw await responseError(put, done);
  await done.discard();
}

/** Adds the digest to an upload location, leaving the server's own query as it is, byte for byte. */
function uploadUrl(location: string, base: URL, descriptor: Descriptor): URL {
  const url = resolveServerUrl(location, base);
  url.hash = '';
  const separator = !url.href.includes('?') ? '?' : /[?&]$/.test(url.href) ? '' : '&';
  return new URL(`${url.href}${separator}digest=${encodeURIComponent(descriptor.digest)}`);
}

function isUncertain(error: unknown): boolean {
  if (error instanceof TransportError) return true;
  if (!(error instanceof ResponseError)) return false;
  // A 404 says that the session is gone.
  return error.status >= 500 || error.status === 404 || error.status === 408 || error.code === 'RATE_LIMITED';
}
