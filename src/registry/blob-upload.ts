import { FerryError, ResponseError, TransportError } from '../errors.js';
import { clockOf, type Clock } from '../http/clock.js';
import { responseError } from '../http/response-error.js';
import { isWorthWaiting } from '../http/host-limiter.js';
import { pauseBeforeRetry } from '../http/retry.js';
import type { HttpRequest, HttpResponse } from '../http/send.js';
import { bytesAtHand, type Bytes, type NotedFailure, type OpenBytes } from '../io/bytes.js';
import { CHUNK_BYTES, isTooLarge, patchChunks } from './chunked-upload.js';
import {
  abandonSession,
  openSession,
  sessionRights,
  withDigest,
  type BlobUpload,
  type UploadSession,
} from './upload-session.js';

/** A failed upload spoils its session on many registries, so the unit that is repeated is the whole upload. */
const MAX_ATTEMPTS = 8;
/** Blobs up to this size may go with the very first request: little is lost where a registry does not take it. */
export const MAX_SINGLE_POST_BYTES = 4 * 1024 * 1024;
/** What is small enough to find out with, at no cost but these bytes. */
const MAX_TRIAL_BYTES = 4 * 1024;

/** How the bytes go: in one body, or in chunks; a guess may turn out wrong. */
type Way = 'whole' | 'chunks' | 'guessed chunks';

/**
 * Uploads a blob: with the first request where the registry takes that; else POST for a session and PUT with everything;
 * in chunks where it refuses a body for its size. The registry checks the digest. After an outcome that is not known, or
 * an answer that means "not now", it waits, asks, and starts over with bytes opened anew.
 * @throws ResponseError, TransportError; what `open` throws, unchanged; IntegrityError if it gives too few or too many
 * bytes
 * @see distribution-spec v1.1.1, "Pushing blobs"
 */
export async function uploadBlob(upload: BlobUpload): Promise<void> {
  const failure: NotedFailure = {};
  try {
    await uploadUntilStored({ ...upload, open: disguised(upload.open, failure) });
  } catch (error) {
    upload.signal?.throwIfAborted();
    throw 'error' in failure ? failure.error : error;
  }
}

/**
 * Asks a registry to take a blob over from another repository, or from wherever it knows it.
 * @returns whether it did; a session that it opened instead is given up
 * @see distribution-spec v1.1.1, "Mounting a blob from another repository"
 */
export async function mountBlob(upload: BlobUpload): Promise<boolean> {
  const response = await upload.send({ ...mountRequest(upload), repeatable: true });
  const location = response.header('location');
  await response.discard();
  if (response.status === 201) return true;
  if (response.status === 202 && location !== undefined) {
    const session = openSession(upload, location);
    await abandonSession(upload.send, session.url, sessionRights(upload, session));
  }
  return false;
}

async function uploadUntilStored(upload: BlobUpload): Promise<void> {
  const { descriptor, manners, signal } = upload;
  const clock = clockOf(upload.clock);
  let way: Way = manners.chunked && descriptor.size > (manners.maxBodyBytes ?? Infinity) ? 'chunks' : 'whole';
  let mayGuess = manners.chunked && descriptor.size > CHUNK_BYTES;
  for (let attempt = 1; ; attempt += 1) {
    // What fails before there is a session was repeated already where that makes sense, and has left nothing behind.
    const session = (attempt === 1 ? await tryMount(upload) : undefined) ?? (await startSession(upload));
    if (session === 'stored') return;
    try {
      if (way !== 'whole') await patchChunks(upload, session);
      await commit(upload, session, way === 'whole');
      return;
    } catch (error) {
      const isLast = attempt === MAX_ATTEMPTS || !isUncertain(error, session);
      // Whoever gave up, or will not come back, leaves nothing behind.
      if (isLast || signal?.aborted === true)
        await abandonSession(upload.send, session.url, sessionRights(upload, session));
      signal?.throwIfAborted();
      if (way === 'guessed chunks' && isRefusedChunk(error)) {
        // Artifact Registry takes none at all.
        way = 'whole';
        mayGuess = false;
      } else if (way === 'whole' && manners.chunked && isTooLarge(error)) {
        way = 'chunks';
      } else {
        if (isLast) throw error;
        await waitAfter(error, attempt, signal, clock);
        if (await upload.exists()) return;
        // An answer such as 413 may get lost when it comes before the whole body went out; smaller bodies will tell.
        if (way === 'whole' && mayGuess && attempt > 1 && error instanceof TransportError) {
          way = 'guessed chunks';
        }
      }
    }
  }
}

/** Mounts the blob where it may be had elsewhere; `undefined` where that leads to nothing, not even a session. */
async function tryMount(upload: BlobUpload): Promise<UploadSession | 'stored' | undefined> {
  if (upload.mountFrom === undefined) return undefined;
  const request = mountRequest(upload);
  let response: HttpResponse;
  try {
    response = await upload.send(request);
  } catch {
    upload.signal?.throwIfAborted();
    return undefined;
  }
  if (response.status === 202 && response.header('location') !== undefined)
    return sessionOf(upload, response);
  await response.discard();
  // Whatever else comes, plainly uploading is always right: registries refuse mounts in many ways.
  return response.status === 201 ? 'stored' : undefined;
}

/** Starts an upload session, or stores the blob with this very request. */
async function startSession(upload: BlobUpload): Promise<UploadSession | 'stored'> {
  const early = isForSinglePost(upload) ? await singlePost(upload) : undefined;
  if (early !== undefined) return early;
  const start: HttpRequest = {
    method: 'POST',
    url: upload.uploadsUrl,
    signal: upload.signal,
    access: upload.access,
    // A second session is harmless; the registry forgets the first.
    repeatable: true,
  };
  const response = await upload.send(start);
  if (response.status !== 202) throw await responseError(start, response);
  return sessionOf(upload, response);
}

function isForSinglePost({ manners, descriptor }: BlobUpload): boolean {
  if (descriptor.size === 0 || manners.singlePost === 'no') return false;
  if (descriptor.size > (manners.maxBodyBytes ?? Infinity)) return false;
  return descriptor.size <= (manners.singlePost === 'yes' ? MAX_SINGLE_POST_BYTES : MAX_TRIAL_BYTES);
}

/**
 * Sends the blob with the first request; `undefined` where that is refused.
 * @see distribution-spec v1.1.1, "Single POST": 202 means that the registry wants the usual way instead
 */
async function singlePost(upload: BlobUpload): Promise<UploadSession | 'stored' | undefined> {
  const { manners, descriptor } = upload;
  const post: HttpRequest = {
    method: 'POST',
    url: withDigest(upload.uploadsUrl, descriptor),
    headers: { 'content-type': 'application/octet-stream' },
    body: { size: descriptor.size, open: upload.open },
    signal: upload.signal,
    access: upload.access,
    // The blob's name is its digest: a second time is the same blob.
    repeatable: true,
  };
  const response = await upload.send(post);
  if (response.status === 201) {
    // What another upload found out in the meantime may be that it does not always work.
    if (manners.singlePost === 'unknown') manners.singlePost = 'yes';
    await response.discard();
    return 'stored';
  }
  if (response.status === 202) {
    manners.singlePost = 'no';
    return sessionOf(upload, response);
  }
  if (![400, 404, 405, 411, 413, 415, 501].includes(response.status)) {
    throw await responseError(post, response);
  }
  await response.discard();
  // Once it is known to work, a refusal is of this blob (413) or this repository.
  if (manners.singlePost === 'unknown') manners.singlePost = 'no';
  return undefined;
}

async function sessionOf(upload: BlobUpload, response: HttpResponse): Promise<UploadSession> {
  const location = response.header('location');
  const minimum = Number(response.header('oci-chunk-min-length') ?? NaN);
  if (Number.isSafeInteger(minimum)) upload.manners.minChunkBytes = minimum;
  await response.discard();
  if (location === undefined) {
    throw new FerryError('REGISTRY_REFUSED', `\`${upload.uploadsUrl.host}\` named no place for the upload`);
  }
  return openSession(upload, location);
}

/** Closes a session: with the whole blob, or with nothing where it holds all bytes. */
async function commit(upload: BlobUpload, session: UploadSession, isWhole: boolean): Promise<void> {
  const { descriptor, open } = upload;
  const put: HttpRequest = {
    method: 'PUT',
    url: withDigest(session.url, descriptor),
    headers: { 'content-type': 'application/octet-stream' },
    body: isWhole ? { size: descriptor.size, open } : undefined,
    ...sessionRights(upload, session),
  };
  const response = await upload.send(put);
  if (![200, 201, 204].includes(response.status)) throw await responseError(put, response);
  await response.discard();
}

function mountRequest(upload: BlobUpload): HttpRequest {
  const url = new URL(upload.uploadsUrl);
  url.searchParams.set('mount', upload.descriptor.digest);
  if (upload.mountFrom !== undefined) url.searchParams.set('from', upload.mountFrom);
  return {
    method: 'POST',
    url,
    signal: upload.signal,
    access: { ...upload.access, from: upload.mountFrom },
  };
}

/** Notes what the bytes themselves fail with, and keeps it from looking like a failure of the connection to repeat. */
function disguised(open: OpenBytes, failure: NotedFailure): OpenBytes {
  const disguise = (error: unknown): Error => {
    failure.error = error;
    return new Error('the bytes to send failed', { cause: error });
  };
  const relay = async function* (bytes: Bytes): Bytes {
    try {
      for await (const chunk of bytes) yield chunk;
    } catch (error) {
      throw disguise(error);
    }
  };
  return (options) => {
    let bytes: Bytes;
    try {
      bytes = open(options);
    } catch (error) {
      throw disguise(error);
    }
    return bytesAtHand(bytes) === undefined ? relay(bytes) : bytes;
  };
}

async function waitAfter(
  error: unknown,
  attempt: number,
  signal: AbortSignal | undefined,
  clock: Clock,
): Promise<void> {
  const floorMs = error instanceof ResponseError ? error.retryAfterMs : undefined;
  if (!isWorthWaiting(floorMs)) throw error;
  // A session that is gone says nothing about how busy anybody is.
  if (error instanceof ResponseError && error.status === 404) return;
  await pauseBeforeRetry(attempt, floorMs, signal, clock);
}

/** Whether a chunk got an answer that says nothing about who asked or how often. */
function isRefusedChunk(error: unknown): boolean {
  if (!(error instanceof ResponseError) || error.method !== 'PATCH') return false;
  return ![401, 403].includes(error.status) && error.code !== 'RATE_LIMITED';
}

function isUncertain(error: unknown, session: UploadSession): boolean {
  if (error instanceof TransportError) return true;
  if (!(error instanceof ResponseError)) return false;
  // What a registry says of how far a session came is not always so.
  if (session.isMended && error.code === 'DIGEST_MISMATCH') return true;
  // A 404 says that the session is gone; 416 that it is not where we thought.
  return error.status >= 500 || [404, 408, 416, 499].includes(error.status) || error.code === 'RATE_LIMITED';
}
