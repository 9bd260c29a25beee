import { isDigest, type Digest } from '../../io/digest.js';
import { isRepositoryName, isTag } from '../../oci/reference.js';
import type { DistributionError, DistributionErrorCode } from './distribution-reply.js';

/** What a path below `/v2/` asks for. */
export type EndPoint =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'tags'; readonly name: string }
  | { readonly kind: 'manifest'; readonly name: string; readonly reference: string }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'referrers'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'upload'; readonly name: string }
  | { readonly kind: 'refused'; readonly error: DistributionError };

/**
 * Reads a path, as it stands in the request, such as `/v2/conda-forge/noarch/zlib/manifests/1.3-0`. A repository name has
 * slashes, and may have `manifests` or `blobs` among its parts: what is asked for is told by the end of the path. Nothing is
 * decoded but the last part, in which some clients write `sha256%3A…`; a name has no letter that would need it.
 * A path that asks for nothing that could be there is `refused`, with the answer to it.
 * @see distribution-spec v1.1.1, "Endpoints"
 */
export function parseEndPoint(path: string): EndPoint {
  if (path === '/v2' || path === '/v2/') return { kind: 'base' };
  if (path === '/v2/_catalog') return { kind: 'catalog' };
  const parts = path.slice('/v2/'.length).split('/');
  const last = parts.pop() ?? '';
  const kind = parts.pop();
  // `<name>/blobs/uploads/` and `<name>/blobs/uploads/<session>`.
  if (kind === 'uploads' && parts.at(-1) === 'blobs') {
    return named(parts.slice(0, -1), (name) => ({ kind: 'upload', name }));
  }
  if (kind === 'tags' && last === 'list') return named(parts, (name) => ({ kind, name }));
  if (kind === 'manifests') return named(parts, (name) => manifestEndPoint(name, last));
  if (kind === 'blobs' && last === 'uploads') return named(parts, (name) => ({ kind: 'upload', name }));
  if (kind === 'blobs')
    return named(parts, (name) => withDigest(last, (digest) => ({ kind: 'blob', name, digest })));
  if (kind === 'referrers')
    return named(parts, (name) => withDigest(last, (digest) => ({ kind, name, digest })));
  return refused(404, 'UNSUPPORTED', 'there is no such end point');
}

function named(parts: readonly string[], make: (name: string) => EndPoint): EndPoint {
  const name = parts.join('/');
  if (isRepositoryName(name)) return make(name);
  return refused(400, 'NAME_INVALID', `\`${shortened(name)}\` cannot name a repository`);
}

function withDigest(last: string, make: (digest: Digest) => EndPoint): EndPoint {
  const digest = decode(last);
  return digest !== undefined && isDigest(digest) ? make(digest) : badDigest(last);
}

function manifestEndPoint(name: string, last: string): EndPoint {
  const reference = decode(last);
  if (reference !== undefined && (isDigest(reference) || isTag(reference))) {
    return { kind: 'manifest', name, reference };
  }
  if (reference?.includes(':') === true) return badDigest(reference);
  // Not 400: a client that asks whether there is such a tag is answered.
  return refused(404, 'TAG_INVALID', `\`${shortened(last)}\` cannot be a tag`);
}

function badDigest(text: string): EndPoint {
  return refused(400, 'DIGEST_INVALID', `\`${shortened(text)}\` is not a sha256 or sha512 digest`);
}

function refused(status: 400 | 404, code: DistributionErrorCode, message: string): EndPoint {
  return { kind: 'refused', error: { status, code, message } };
}

function decode(text: string): string | undefined {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

function shortened(text: string): string {
  return text.length > 100 ? `${text.slice(0, 99)}…` : text;
}
