import { ResponseError, TransportError } from '../errors.js';
import { clockOf } from '../http/clock.js';
import { responseError } from '../http/response-error.js';
import { pauseBeforeRetry } from '../http/retry.js';
import type { HttpRequest } from '../http/send.js';
import { openerOf } from '../io/bytes.js';
import { sessionRights, sessionUrl, type BlobUpload } from './upload-session.js';

/** GHCR takes no more in one request, and memory for it is little. */
export const CHUNK_BYTES = 4 * 1024 * 1024;
/** Failures of one session before the whole upload starts over. */
const MAX_FAILURES = 5;

/** A session that chunks go to. */
export interface ChunkedUpload extends BlobUpload {
  readonly session: URL;
}

/**
 * Sends a blob in chunks, in order, each to the place that the answer to the one before named. After a failure the
 * session is asked how far it came; where it cannot tell, the failure is thrown and the whole upload starts over.
 * Our own count is what goes on: some registries report a `Range` that never grows.
 * @returns where the session ends, to be closed with the digest
 * @see distribution-spec v1.1.1, "Pushing a blob in chunks"
 */
export async function patchChunks(upload: ChunkedUpload): Promise<URL> {
  const { descriptor, manners, signal } = upload;
  const clock = clockOf(upload.clock);
  const chunkBytes = Math.max(
    manners.minChunkBytes ?? 0,
    Math.min(manners.maxChunkBytes ?? CHUNK_BYTES, CHUNK_BYTES),
  );
  let session = upload.session;
  let position = 0;
  let failures = 0;
  while (position < descriptor.size) {
    const chunks = inPieces(upload.open({ signal, offset: position }), chunkBytes);
    try {
      for await (const chunk of chunks) {
        session = await patchChunk(upload, session, position, chunk);
        position += chunk.byteLength;
      }
      break;
    } catch (error) {
      signal?.throwIfAborted();
      failures += 1;
      if (failures === MAX_FAILURES || !isRecoverable(error)) throw error;
      await pauseBeforeRetry(failures, undefined, signal, clock);
      const status = await askStatus(upload, session);
      if (status === undefined) throw error;
      ({ session, position } = status);
    }
  }
  return session;
}

async function patchChunk(
  upload: ChunkedUpload,
  session: URL,
  position: number,
  chunk: Uint8Array,
): Promise<URL> {
  const patch: HttpRequest = {
    method: 'PATCH',
    url: session,
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
  return location === undefined ? session : sessionUrl(location, session);
}

/** Asks a session how far it came; `undefined` where it is gone or cannot say. */
async function askStatus(
  upload: ChunkedUpload,
  session: URL,
): Promise<{ readonly session: URL; readonly position: number } | undefined> {
  const response = await upload.send({ method: 'GET', url: session, ...sessionRights(upload, session) });
  const end = /^(?:bytes=)?0-(\d+)$/.exec(response.header('range')?.trim() ?? '')?.[1];
  const location = response.header('location');
  await response.discard();
  if (response.status !== 204 || end === undefined) return undefined;
  // Nothing yet and one byte look the same (`0-0`); from the start is right for the first, refused for the second.
  const position = Number(end) === 0 ? 0 : Number(end) + 1;
  return { session: location === undefined ? session : sessionUrl(location, session), position };
}

function isRecoverable(error: unknown): boolean {
  if (error instanceof TransportError) return true;
  return (
    error instanceof ResponseError && (error.status >= 500 || error.status === 416 || error.status === 408)
  );
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
