import { ResponseError, TransportError } from '../errors.js';
import { clockOf } from '../http/clock.js';
import { responseError } from '../http/response-error.js';
import { pauseBeforeRetry } from '../http/retry.js';
import type { HttpRequest } from '../http/send.js';
import { openerOf } from '../io/bytes.js';
import { exactBytes } from '../io/verify.js';
import {
  moveSession,
  sessionRights,
  type BlobUpload,
  type UploadManners,
  type UploadSession,
} from './upload-session.js';

/** GHCR takes no more in one request, and memory for it is little. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** A chunk is held in memory, so a registry that asks for larger ones is not obeyed. ECR asks for 5 MiB. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
/** Where a refusal of a chunk is no longer taken for one of its size. nginx refuses more than 1 MiB by default. */
const MIN_CHUNK_BYTES = 256 * 1024;
/** Failures of one session in a row before the whole upload starts over. */
const MAX_FAILURES = 5;

/**
 * Sends a blob in chunks, in order, each to the place that the answer to the one before named. After a failure the
 * session is asked how far it came; where it cannot tell, the failure is thrown and the whole upload starts over.
 * Our own count is what goes on: some registries report a `Range` that never grows. A chunk that is refused for its
 * size is cut in two. The session ends up where it is to be closed with the digest.
 * @throws ResponseError, TransportError; IntegrityError if `open` gives too few or too many bytes
 * @see distribution-spec v1.1.1, "Pushing a blob in chunks"
 */
export async function patchChunks(upload: BlobUpload, session: UploadSession): Promise<void> {
  const { descriptor, manners, signal } = upload;
  const clock = clockOf(upload.clock);
  let chunkBytes = chunkBytesFor(manners);
  let isCut = false;
  let position = 0;
  let failures = 0;
  while (position < descriptor.size) {
    const source = upload.open({ signal, offset: position });
    const what = `what is read of ${descriptor.digest} from byte ${String(position)} on`;
    let sentBytes = 0;
    try {
      for await (const chunk of inPieces(exactBytes(source, descriptor.size - position, what), chunkBytes)) {
        sentBytes = chunk.byteLength;
        await patchChunk(upload, session, position, chunk);
        position += chunk.byteLength;
        failures = 0;
        if (isCut) manners.maxBodyBytes = chunkBytes;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (isTooLarge(error) && Math.min(chunkBytes, sentBytes) > smallestChunkOf(manners)) {
        isCut = true;
        chunkBytes = Math.max(smallestChunkOf(manners), Math.ceil(Math.min(chunkBytes, sentBytes) / 2));
      } else {
        failures += 1;
        if (failures === MAX_FAILURES || !isRecoverable(error)) throw error;
        await pauseBeforeRetry(failures, undefined, signal, clock);
      }
      const stored = await askStatus(upload, session, position);
      // What it confirmed cannot be missing, nor can there be more than was sent: such a session is beyond repair.
      if (stored === undefined || stored < position || stored > position + sentBytes) throw error;
      position = stored;
      session.isMended = true;
    }
  }
}

function chunkBytesFor({ minChunkBytes = 0, maxBodyBytes, maxPatchBytes }: UploadManners): number {
  const wanted = Math.max(
    minChunkBytes,
    Math.min(maxBodyBytes ?? CHUNK_BYTES, maxPatchBytes ?? CHUNK_BYTES, CHUNK_BYTES),
  );
  return Math.min(wanted, MAX_CHUNK_BYTES);
}

function smallestChunkOf({ minChunkBytes = 0 }: UploadManners): number {
  return Math.max(minChunkBytes, MIN_CHUNK_BYTES);
}

async function patchChunk(
  upload: BlobUpload,
  session: UploadSession,
  position: number,
  chunk: Uint8Array,
): Promise<void> {
  const patch: HttpRequest = {
    method: 'PATCH',
    url: session.url,
    headers: {
      'content-type': 'application/octet-stream',
      'content-range': `${String(position)}-${String(position + chunk.byteLength - 1)}`,
    },
    body: { size: chunk.byteLength, open: openerOf(chunk) },
    ...sessionRights(upload, session),
  };
  const response = await upload.send(patch);
  // Some registries say 201 of every chunk.
  if (![201, 202, 204].includes(response.status)) throw await responseError(patch, response);
  const location = response.header('location');
  await response.discard();
  moveSession(upload, session, location);
}

/** Asks a session how many bytes it holds; `undefined` where it is gone or cannot say. */
async function askStatus(
  upload: BlobUpload,
  session: UploadSession,
  confirmed: number,
): Promise<number | undefined> {
  const { url } = session;
  const response = await upload.send({ method: 'GET', url, ...sessionRights(upload, session) });
  const end = /^(?:bytes=)?0-(\d+)$/.exec(response.header('range')?.trim() ?? '')?.[1];
  const location = response.header('location');
  await response.discard();
  if (response.status !== 204 || end === undefined) return undefined;
  moveSession(upload, session, location);
  // Nothing yet and one byte look the same (`0-0`); from the start is right for the first, refused for the second.
  return Number(end) === 0 && confirmed === 0 ? 0 : Number(end) + 1;
}

function isRecoverable(error: unknown): boolean {
  if (error instanceof TransportError) return true;
  return (
    error instanceof ResponseError && (error.status >= 500 || error.status === 416 || error.status === 408)
  );
}

/** Gateways say so of bodies, not of blobs. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof ResponseError && error.status === 413;
}

/** Cuts bytes into pieces of exactly `size`, the last one shorter. */
async function* inPieces(source: AsyncIterable<Uint8Array>, size: number): AsyncIterable<Uint8Array> {
  let parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of source) {
    let rest = chunk;
    while (rest.byteLength > 0) {
      const part = rest.subarray(0, size - length);
      parts.push(part);
      length += part.byteLength;
      rest = rest.subarray(part.byteLength);
      if (length === size) {
        yield Buffer.concat(parts);
        parts = [];
        length = 0;
      }
    }
  }
  if (length > 0) yield Buffer.concat(parts);
}
