import { FerryError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest } from '../http/send.js';
import { resolveUrlForOthers } from '../http/server-url.js';
import { clockOf } from '../http/clock.js';
import { digestOf, parseDigest, type Digest } from '../io/digest.js';
import type { CallOptions } from '../oci/storage.js';
import { accessTo, type RepositoryContext } from './repository-context.js';

/** How long a registry that gave a blob itself is taken to give all of them itself. */
const OWN_BLOBS_FOR_MS = 10 * 60_000;

const EMPTY_DIGESTS: ReadonlySet<Digest> = new Set([
  digestOf(new Uint8Array()),
  digestOf(new Uint8Array(), 'sha512'),
]);

/** What was found out of where a registry has its blobs; shared by its repositories. */
export interface BlobPlaces {
  /** Whether it ever sent somebody elsewhere. */
  redirects: boolean;
  /** Until when it need not be asked again, on the clock of the client. */
  ownUntilMs: number;
}

/** Nothing found out yet. */
export function unknownBlobPlaces(): BlobPlaces {
  return { redirects: false, ownUntilMs: -Infinity };
}

/**
 * Asks for the size of a blob; `undefined` where it is not there.
 * @throws ResponseError; FerryError `REGISTRY_REFUSED` where the registry has it and does not tell
 * @see distribution-spec v1.1.1, "Checking if content exists in the registry"
 */
export async function statBlob(
  context: RepositoryContext,
  digest: Digest,
  options: CallOptions,
): Promise<{ readonly size: number } | undefined> {
  const head = blobRequest(context, 'HEAD', digest, options);
  const response = await context.send(head);
  if (response.status === 404) {
    await response.discard();
    return undefined;
  }
  if (response.status !== 200) throw await responseError(head, response);
  await response.discard();
  const size = sizeOf(response.header('content-length'));
  // Some leave the length out of an answer without a body, or say 0.
  if (size !== undefined && (size > 0 || EMPTY_DIGESTS.has(digest))) return { size };
  return sizeByReading(context, digest, options);
}

/** Begins to read it, which makes every server tell. */
async function sizeByReading(
  context: RepositoryContext,
  digest: Digest,
  options: CallOptions,
): Promise<{ readonly size: number } | undefined> {
  const request = firstByteOf(blobRequest(context, 'GET', digest, options));
  const response = await context.send(request);
  if (response.status === 404) {
    await response.discard();
    return undefined;
  }
  if (response.status !== 200 && response.status !== 206) throw await responseError(request, response);
  await response.discard();
  const size = sizeOf(
    response.status === 200
      ? response.header('content-length')
      : /^bytes \d+-\d+\/(\d+)$/.exec(response.header('content-range') ?? '')?.[1],
  );
  if (size !== undefined) return { size };
  throw new FerryError('REGISTRY_REFUSED', `\`${context.base.host}\` does not tell the size of ${digest}`);
}

/**
 * Asks where a blob is, without fetching it: a registry that has its blobs elsewhere answers with a signed URL. One that gave
 * a blob itself, and never did otherwise, is not asked again for ten minutes.
 * @throws ResponseError; FerryError `REGISTRY_REFUSED` where the URL is not safe
 * @see distribution-spec v1.1.1, "Pulling blobs"
 */
export async function locateBlob(
  context: RepositoryContext,
  places: BlobPlaces,
  digest: Digest,
  options: CallOptions,
): Promise<URL | undefined> {
  options.signal?.throwIfAborted();
  const { now } = clockOf(context.clock);
  if (!places.redirects && now() < places.ownUntilMs) return undefined;
  // Only GET: a URL that is signed for HEAD is good for nothing else.
  const request: HttpRequest = {
    ...firstByteOf(blobRequest(context, 'GET', digest, options)),
    redirects: 'tell',
  };
  const response = await context.send(request);
  const location = response.header('location');
  if (response.status >= 300 && response.status < 400 && location !== undefined) {
    await response.discard();
    const url = await resolveUrlForOthers(location, response.url);
    places.redirects = true;
    return url;
  }
  // 416: a blob of no bytes has no first one.
  if (![200, 206, 416].includes(response.status)) throw await responseError(request, response);
  await response.discard();
  places.ownUntilMs = now() + OWN_BLOBS_FOR_MS;
  return undefined;
}

function blobRequest(
  context: RepositoryContext,
  method: 'GET' | 'HEAD',
  digest: Digest,
  { signal }: CallOptions,
): HttpRequest {
  return {
    method,
    url: new URL(`blobs/${parseDigest(digest)}`, context.base),
    signal,
    access: accessTo(context.name, 'read'),
  };
}

/** What a server answers in full it would send in full, and its connection would be lost. */
function firstByteOf(request: HttpRequest): HttpRequest {
  return { ...request, headers: { range: 'bytes=0-0' } };
}

function sizeOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
