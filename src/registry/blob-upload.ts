import { FerryError, ResponseError, TransportError } from '../errors.js';
import { clockOf, type Clock } from '../http/clock.js';
import { responseError } from '../http/response-error.js';
import { isWorthWaiting, pauseBeforeRetry } from '../http/retry.js';
import type { HttpRequest, HttpResponse } from '../http/send.js';
import { noteFailure, type NotedFailure, type OpenBytes } from '../io/bytes.js';
import { CHUNK_BYTES, patchChunks } from './chunked-upload.js';
import { pushAccess, sessionRights, sessionUrl, withDigest, type BlobUpload } from './upload-session.js';

/** A failed upload spoils its session on many registries, so the unit that is repeated is the whole upload. */
const MAX_ATTEMPTS = 8;
/** Blobs up to this size may go with the very first request: little is lost where a registry does not take it. */
const MAX_SINGLE_POST_BYTES = 4 * 1024 * 1024;
/** What is small enough to find out with, at no cost but these bytes. */
const MAX_TRIAL_BYTES = 4 * 1024;

/**
 * Uploads a blob: with the first request where the registry takes that; else POST for a session and PUT with everything;
 * in chunks where it refuses a body for its size. The registry checks the digest. After an outcome that is not known, or
 * an answer that means "not now", it waits, asks, and starts over with bytes opened anew.
 * @throws ResponseError, TransportError; what `open` throws, unchanged; IntegrityError if it gives too few or too many
 * bytes
 * @see distribution-spec v1.1.1, "Pushing blobs"
 */
export async function uploadBlob(upload: BlobUpload): Promise<void> {
  const clock = clockOf(upload.clock);
  let inChunks = false;
  for (let attempt = 1; ; attempt += 1) {
    const failure: NotedFailure = {};
    try {
      await uploadOnce(upload, failure, inChunks);
      return;
    } catch (error) {
      if (error === failure.error) throw error;
      if (!inChunks && upload.manners.chunked && isTooLarge(error)) {
        inChunks = true;
        continue;
      }
      if (attempt === MAX_ATTEMPTS || !isUncertain(error)) throw error;
      await waitAfter(error, attempt, upload.signal, clock);
      if (await upload.exists()) return;
      // An answer such as 413 may get lost when it comes before the whole body went out; smaller bodies will tell.
      if (error instanceof TransportError && attempt > 1 && upload.descriptor.size > CHUNK_BYTES) {
        inChunks = upload.manners.chunked;
      }
    }
  }
}

/**
 * Asks a registry to take a blob over from another repository, or from wherever it knows it.
 * @returns whether it did; a session that it opened instead is given up
 * @see distribution-spec v1.1.1, "Mounting a blob from another repository"
 */
export async function mountBlob(upload: BlobUpload): Promise<boolean> {
  const request = mountRequest(upload);
  const response = await upload.send(request);
  const location = response.header('location');
  await response.discard();
  if (response.status === 201) return true;
  if (response.status === 202 && location !== undefined) {
    await abandon(upload, sessionUrl(location, request.url));
  }
  return false;
}

async function uploadOnce(upload: BlobUpload, failure: NotedFailure, inChunks: boolean): Promise<void> {
  const session = await startSession(upload, failure);
  if (session === undefined) return;
  try {
    if (!inChunks) await putBlob(upload, session, failure);
    else {
      const open: OpenBytes = (options) => noteFailure(() => upload.open(options), failure);
      const end = await patchChunks({ ...upload, open, session });
      await finish(upload, end);
    }
  } catch (error) {
    // Whoever gave up, or will not come back, leaves nothing behind.
    if (error === failure.error || !isUncertain(error)) await abandon(upload, session);
    throw error;
  }
}

/** Starts an upload session; its answer is where the bytes go, or nothing where the blob is there already. */
async function startSession(upload: BlobUpload, failure: NotedFailure): Promise<URL | undefined> {
  if (upload.mountFrom !== undefined) {
    const request = mountRequest(upload);
    const response = await upload.send(request);
    if (response.status === 201) {
      await response.discard();
      return undefined;
    }
    if (response.status === 202) return sessionOf(upload, request, response);
    // Whatever else comes, plainly uploading is always right: registries refuse mounts in many ways.
    await response.discard();
  }
  if (isForSinglePost(upload)) return singlePost(upload, failure);
  const start: HttpRequest = {
    method: 'POST',
    url: upload.uploadsUrl,
    signal: upload.signal,
    access: pushAccess(upload),
    // A second session is harmless; the registry forgets the first.
    repeatable: true,
  };
  const response = await upload.send(start);
  if (response.status !== 202) throw await responseError(start, response);
  return sessionOf(upload, start, response);
}

function isForSinglePost({ manners, descriptor }: BlobUpload): boolean {
  if (descriptor.size === 0 || manners.singlePost === 'no') return false;
  return descriptor.size <= (manners.singlePost === 'yes' ? MAX_SINGLE_POST_BYTES : MAX_TRIAL_BYTES);
}

/** @see distribution-spec v1.1.1, "Single POST": 202 means that the registry wants the usual way instead */
async function singlePost(upload: BlobUpload, failure: NotedFailure): Promise<URL | undefined> {
  const { manners, descriptor } = upload;
  const post: HttpRequest = {
    method: 'POST',
    url: withDigest(upload.uploadsUrl, descriptor),
    headers: { 'content-type': 'application/octet-stream' },
    body: bodyOf(upload, failure),
    signal: upload.signal,
    access: pushAccess(upload),
    // The blob's name is its digest: a second time is the same blob.
    repeatable: true,
  };
  const response = await upload.send(post);
  if (response.status === 201) {
    manners.singlePost = 'yes';
    await response.discard();
    return undefined;
  }
  if (response.status === 202) {
    manners.singlePost = 'no';
    return sessionOf(upload, post, response);
  }
  const isRefusal = [400, 404, 405, 411, 413, 415, 501].includes(response.status);
  if (!isRefusal || manners.singlePost === 'yes') throw await responseError(post, response);
  await response.discard();
  manners.singlePost = 'no';
  return startSession({ ...upload, mountFrom: undefined }, failure);
}

async function sessionOf(upload: BlobUpload, request: HttpRequest, response: HttpResponse): Promise<URL> {
  const location = response.header('location');
  const minimum = Number(response.header('oci-chunk-min-length') ?? NaN);
  if (Number.isSafeInteger(minimum)) upload.manners.minChunkBytes = minimum;
  await response.discard();
  if (location === undefined) {
    throw new FerryError('REGISTRY_REFUSED', `\`${upload.uploadsUrl.host}\` named no place for the upload`);
  }
  return sessionUrl(location, request.url);
}

async function putBlob(upload: BlobUpload, session: URL, failure: NotedFailure): Promise<void> {
  const put: HttpRequest = {
    method: 'PUT',
    url: withDigest(session, upload.descriptor),
    headers: { 'content-type': 'application/octet-stream' },
    body: bodyOf(upload, failure),
    ...sessionRights(upload, session),
  };
  await expectStored(put, await upload.send(put));
}

/** Closes a session that holds all bytes. */
async function finish(upload: BlobUpload, session: URL): Promise<void> {
  const put: HttpRequest = {
    method: 'PUT',
    url: withDigest(session, upload.descriptor),
    headers: { 'content-type': 'application/octet-stream' },
    ...sessionRights(upload, session),
  };
  await expectStored(put, await upload.send(put));
}

async function expectStored(request: HttpRequest, response: HttpResponse): Promise<void> {
  if (![200, 201, 204].includes(response.status)) throw await responseError(request, response);
  await response.discard();
}

/** Gives a session up; whether that works is of no interest, registries forget by themselves. */
async function abandon(upload: BlobUpload, session: URL): Promise<void> {
  try {
    const rights = sessionRights(upload, session);
    // The caller's signal may be what ended the upload.
    const response = await upload.send({
      method: 'DELETE',
      url: session,
      ...rights,
      signal: undefined,
      timeLimitMs: 5000,
    });
    await response.discard();
  } catch {
    // See above.
  }
}

function mountRequest(upload: BlobUpload): HttpRequest {
  const url = new URL(upload.uploadsUrl);
  url.searchParams.set('mount', upload.descriptor.digest);
  if (upload.mountFrom !== undefined) url.searchParams.set('from', upload.mountFrom);
  return {
    method: 'POST',
    url,
    signal: upload.signal,
    access: { ...pushAccess(upload), from: upload.mountFrom },
    repeatable: true,
  };
}

function bodyOf({ descriptor, open }: BlobUpload, failure: NotedFailure): HttpRequest['body'] {
  return { size: descriptor.size, open: (options) => noteFailure(() => open(options), failure) };
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

/** Gateways say so of bodies, not of blobs. */
function isTooLarge(error: unknown): boolean {
  return error instanceof ResponseError && error.status === 413;
}

function isUncertain(error: unknown): boolean {
  if (error instanceof TransportError) return true;
  if (!(error instanceof ResponseError)) return false;
  // A 404 says that the session is gone; 416 that it is not where we thought.
  return error.status >= 500 || [404, 408, 416, 499].includes(error.status) || error.code === 'RATE_LIMITED';
}
