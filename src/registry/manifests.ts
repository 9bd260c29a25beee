import { FerryError, IntegrityError, type ResponseError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest, HttpResponse } from '../http/send.js';
import { collect, openerOf } from '../io/bytes.js';
import { digestAlgorithm, digestOf, isDigest } from '../io/digest.js';
import type { Descriptor } from '../oci/descriptor.js';
import { MAX_MANIFEST_BYTES, ownMediaType } from '../oci/manifest.js';
import { MANIFEST_MEDIA_TYPES } from '../oci/media-types.js';
import { parseTag } from '../oci/reference.js';
import type { CallOptions, StoredManifest } from '../oci/storage.js';
import { accessTo, type RepositoryContext } from './repository-context.js';

/** A manifest that takes longer is dripped. */
const DOCUMENT_TIME_LIMIT_MS = 120_000;

/**
 * Asks what a tag or digest names, by HEAD. Where that tells too little, or is refused as some registries and proxies
 * do, the manifest is read instead, once; so an error has the body that HEAD does not.
 * @throws ParseError `REFERENCE_INVALID`, before anything is sent
 */
export async function headManifest(
  context: RepositoryContext,
  reference: string,
  options: CallOptions,
): Promise<Descriptor | undefined> {
  const request = manifestRequest(context, 'HEAD', reference, options);
  const response = await context.send(request);
  if (response.status === 404) {
    await response.discard();
    return undefined;
  }
  if (![200, 400, 403, 405].includes(response.status)) throw await responseError(request, response);
  await response.discard();
  const descriptor = response.status === 200 ? descriptorOfHeaders(response, reference) : undefined;
  return descriptor ?? (await readManifest(context, reference, options))?.descriptor;
}

/**
 * Reads a manifest by tag or digest. Its digest is that of the bytes: what the registry says of a tag's digest is
 * wrong in more than one of them, and by digest only the bytes asked for are taken.
 * @throws IntegrityError `DIGEST_MISMATCH`, `SIZE_EXCEEDED`; FerryError `MANIFEST_INVALID` for one that says it is of
 * another media type than it came as (CVE-2021-41190)
 */
export async function readManifest(
  context: RepositoryContext,
  reference: string,
  options: CallOptions,
): Promise<StoredManifest | undefined> {
  const request = manifestRequest(context, 'GET', reference, options);
  const response = await context.send(request);
  if (response.status === 404) {
    await response.discard();
    return undefined;
  }
  if (response.status !== 200) throw await responseError(request, response);
  const what = `manifest \`${context.name}:${reference}\``;
  const bytes = await collect(response.body, MAX_MANIFEST_BYTES, what);
  const digest = digestOf(bytes, isDigest(reference) ? digestAlgorithm(reference) : 'sha256');
  if (isDigest(reference) && digest !== reference) {
    throw new IntegrityError('DIGEST_MISMATCH', what, reference, digest);
  }
  const mediaType = mediaTypeOf(response);
  if (mediaType === undefined) {
    throw new FerryError('MANIFEST_INVALID', `${what} came without a media type`);
  }
  const own = ownMediaType(bytes);
  if (own !== undefined && own.toLowerCase() !== mediaType.toLowerCase()) {
    throw new FerryError('MANIFEST_INVALID', `${what} came as \`${mediaType}\` and says it is \`${own}\``);
  }
  return { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes };
}

/** Options of {@link writeManifest}. */
export interface WriteManifestOptions extends CallOptions {
  /** Whether a lost answer may be answered by sending the same again. @defaultValue true */
  readonly repeatable?: boolean | undefined;
}

/** What a registry did with a manifest. */
export interface WrittenManifest {
  /** Whether it keeps the list of the subject's referrers itself. @see distribution-spec v1.1.1, "OCI-Subject" */
  readonly listsReferrers: boolean;
}

/**
 * Stores a manifest under a tag or its digest.
 * @throws FerryError `MANIFEST_TOO_LARGE`; IntegrityError `DIGEST_MISMATCH` if the registry read other bytes
 */
export async function writeManifest(
  context: RepositoryContext,
  { descriptor, bytes }: StoredManifest,
  reference: string,
  options: WriteManifestOptions,
): Promise<WrittenManifest> {
  checkManifestSize(context, descriptor);
  const request: HttpRequest = {
    method: 'PUT',
    url: manifestUrl(context, reference),
    headers: { 'content-type': descriptor.mediaType },
    body: { size: bytes.byteLength, open: openerOf(bytes) },
    signal: options.signal,
    // The same bytes under the same name: sending them twice changes nothing, unless others write the name too.
    repeatable: options.repeatable ?? true,
    access: accessTo(context.name, 'write'),
  };
  const response = await context.send(request);
  if (![200, 201, 202].includes(response.status)) {
    const error = await responseError(request, response);
    throw isTooLarge(error) ? manifestTooLarge(context, descriptor, error) : error;
  }
  await response.discard();
  const claimed = response.header('docker-content-digest');
  // A sha512 comes back as sha256 from docker-registry 2.8, which says nothing.
  if (
    claimed !== undefined &&
    isDigest(claimed) &&
    digestAlgorithm(claimed) === digestAlgorithm(descriptor.digest) &&
    claimed !== descriptor.digest
  ) {
    throw new IntegrityError(
      'DIGEST_MISMATCH',
      `the manifest that \`${context.base.host}\` stored as \`${context.name}:${reference}\``,
      descriptor.digest,
      claimed,
    );
  }
  return { listsReferrers: response.header('oci-subject') !== undefined };
}

/** Refuses what this registry would refuse, or choke on. @throws FerryError `MANIFEST_TOO_LARGE` */
export function checkManifestSize(context: RepositoryContext, descriptor: Descriptor): void {
  if (descriptor.size > context.profile.maxManifestBytes) throw manifestTooLarge(context, descriptor);
}

/** Where a manifest is, by tag or digest. @throws ParseError `REFERENCE_INVALID` */
export function manifestUrl(context: RepositoryContext, reference: string): URL {
  return new URL(`manifests/${isDigest(reference) ? reference : parseTag(reference)}`, context.base);
}

function manifestRequest(
  context: RepositoryContext,
  method: 'GET' | 'HEAD',
  reference: string,
  options: CallOptions,
): HttpRequest {
  return {
    method,
    url: manifestUrl(context, reference),
    headers: { accept: MANIFEST_MEDIA_TYPES.join(', ') },
    signal: options.signal,
    access: accessTo(context.name, 'read'),
    bufferUpTo: MAX_MANIFEST_BYTES,
    timeLimitMs: DOCUMENT_TIME_LIMIT_MS,
  };
}

/** What a HEAD tells, or `undefined` where the registry leaves something out or says what cannot be. */
function descriptorOfHeaders(response: HttpResponse, reference: string): Descriptor | undefined {
  const mediaType = mediaTypeOf(response);
  // Some registries answer HEAD with a length of 0.
  const size = Number(response.header('content-length') ?? 0);
  const claimed = response.header('docker-content-digest');
  const digest = isDigest(reference) ? reference : claimed;
  const isSize = Number.isInteger(size) && size > 0 && size <= MAX_MANIFEST_BYTES;
  if (mediaType === undefined || digest === undefined || !isDigest(digest) || !isSize) return undefined;
  const isOther =
    claimed !== undefined &&
    claimed !== digest &&
    isDigest(claimed) &&
    digestAlgorithm(claimed) === digestAlgorithm(digest);
  return isOther ? undefined : { mediaType, digest, size };
}

/** Media type of an answer without its parameters. @see RFC 9110, section 8.3 */
export function mediaTypeOf(response: HttpResponse): string | undefined {
  const mediaType = response.header('content-type')?.split(';')[0]?.trim();
  return mediaType === '' ? undefined : mediaType;
}

/** 413 is the rule; "request body too large" comes with a 400 from some. */
function isTooLarge({ status, errors }: ResponseError): boolean {
  if (status === 413) return true;
  return status === 400 && errors.some(({ message }) => /too large/i.test(message));
}

function manifestTooLarge(context: RepositoryContext, descriptor: Descriptor, cause?: unknown): FerryError {
  return new FerryError(
    'MANIFEST_TOO_LARGE',
    `manifest ${descriptor.digest} has ${String(descriptor.size)} bytes, more than \`${context.base.host}\` takes`,
    { cause },
  );
}
