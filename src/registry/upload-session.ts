import type { ClockOptions } from '../http/clock.js';
import type { Access, HttpRequest, Send } from '../http/send.js';
import { resolveServerUrl } from '../http/server-url.js';
import type { OpenBytes } from '../io/bytes.js';
import type { Descriptor } from '../oci/descriptor.js';

/** What a registry was found to take; shared by all uploads to it. */
export interface UploadManners {
  /** Whether a blob may come with the first POST. */
  singlePost: 'yes' | 'no' | 'unknown';
  /** Smallest chunk it takes, in bytes, as its `OCI-Chunk-Min-Length` said. */
  minChunkBytes?: number | undefined;
  /** Largest request body it takes, in bytes; a larger blob goes in chunks from the start. */
  maxBodyBytes?: number | undefined;
  /** Largest chunk it takes, in bytes, where whole blobs may be larger. */
  readonly maxPatchBytes?: number | undefined;
  /** Whether it takes chunks at all. */
  readonly chunked: boolean;
}

/** One blob on its way into a repository. */
export interface BlobUpload {
  readonly send: Send;
  /** `…/v2/<name>/blobs/uploads/` */
  readonly uploadsUrl: URL;
  /** What every request of it needs. */
  readonly access: Access;
  readonly descriptor: Descriptor;
  readonly open: OpenBytes;
  readonly signal?: AbortSignal | undefined;
  /** Asks whether the blob is there, after an upload whose outcome is open. */
  readonly exists: () => Promise<boolean>;
  readonly manners: UploadManners;
  /** A repository of the same registry that may hold the blob. */
  readonly mountFrom?: string | undefined;
  readonly clock: ClockOptions;
}

/** An upload session: it moves with every answer. */
export interface UploadSession {
  /** Where it is by now. */
  url: URL;
  /** Whether another origin has had a say in where it is; then it stays without credentials, as a redirect does. */
  isForeign: boolean;
  /** Whether it went on after a failure, from where the registry said it was. */
  isMended: boolean;
}

/** Where a session is that another answer than that of an upload named. */
export function sessionUrl(location: string, base: URL): URL {
  const url = resolveServerUrl(location, base);
  url.hash = '';
  return url;
}

/** The session that an answer to the upload's start opened. */
export function openSession(upload: BlobUpload, location: string): UploadSession {
  const session = { url: upload.uploadsUrl, isForeign: false, isMended: false };
  moveSession(upload, session, location);
  return session;
}

/** Follows a session to the place that its latest answer named; a fragment is no part of it. */
export function moveSession(upload: BlobUpload, session: UploadSession, location: string | undefined): void {
  if (location === undefined) return;
  const url = sessionUrl(location, session.url);
  session.url = url;
  session.isForeign ||= url.origin !== upload.uploadsUrl.origin;
}

/** A session may lie on another host, which then gets the bytes and nothing else (GHSA-jxpm-75mh-9fp7). */
export function sessionRights(
  upload: BlobUpload,
  session: UploadSession,
): Pick<HttpRequest, 'access' | 'givenBy' | 'signal'> {
  const { uploadsUrl, access, signal } = upload;
  return session.isForeign ? { givenBy: uploadsUrl, signal } : { access, signal };
}

/** A host that makes everybody wait shall not keep a session from being given up. */
const ABANDON_MS = 2000;

/**
 * Gives a session up, within two seconds and also for a caller that was aborted; whether that works is of no interest,
 * registries forget by themselves.
 */
export async function abandonSession(
  send: Send,
  url: URL,
  rights: Pick<HttpRequest, 'access' | 'givenBy'>,
): Promise<void> {
  try {
    const signal = AbortSignal.timeout(ABANDON_MS);
    const response = await send({ ...rights, method: 'DELETE', url, signal });
    await response.discard();
  } catch {
    // See above.
  }
}

/** Adds the digest to an upload location, leaving the server's own query as it is, byte for byte. */
export function withDigest({ href }: URL, descriptor: Descriptor): URL {
  const separator = !href.includes('?') ? '?' : /[?&]$/.test(href) ? '' : '&';
  return new URL(`${href}${separator}digest=${encodeURIComponent(descriptor.digest)}`);
}
