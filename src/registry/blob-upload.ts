import { FerryError, isFerryError, ResponseError, TransportError } from '../errors.js';
import { resolveServerUrl } from '../http/redirect.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest, Send } from '../http/send.js';
import type { OpenBytes } from '../io/bytes.js';
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
}

/**
 * Uploads a blob in one piece: POST for a session, PUT with everything. The registry checks the digest. After an
 * outcome that is not known it asks first, then starts over.
 * @throws ResponseError, TransportError; IntegrityError of the bytes themselves
 * @see distribution-spec v1.1.1, "POST then PUT"
 */
export async function uploadBlob(upload: BlobUpload): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await uploadOnce(upload);
      return;
    } catch (error) {
      if (attempt === MAX_ATTEMPTS || !isUncertain(error)) throw error;
      if (await upload.exists()) return;
    }
  }
}

async function uploadOnce(upload: BlobUpload): Promise<void> {
  const { send, descriptor, signal } = upload;
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

  const put: HttpRequest = {
    method: 'PUT',
    url: uploadUrl(location, upload.uploadsUrl, descriptor),
    headers: { 'content-type': 'application/octet-stream' },
    body: { size: descriptor.size, open: upload.open },
    signal,
  };
  const done = await send(put);
  if (![200, 201, 204].includes(done.status)) throw await responseError(put, done);
  await done.discard();
}

/** Adds the digest to an upload location, leaving the server's own query as it is, byte for byte. */
function uploadUrl(location: string, base: URL, descriptor: Descriptor): URL {
  const url = resolveServerUrl(location, base);
  const separator = url.search === '' ? '?' : '&';
  return new URL(`${url.href}${separator}digest=${encodeURIComponent(descriptor.digest)}`);
}

function isUncertain(error: unknown): boolean {
  if (error instanceof TransportError) return true;
  if (error instanceof ResponseError) return error.status >= 500 || error.status === 404 || error.status === 429;
  return isFerryError(error, 'RATE_LIMITED');
}
