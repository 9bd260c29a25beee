import { ParseError } from '../errors.js';
import { isDigest, type Digest } from '../io/digest.js';

/** A place in a registry: `registry/repository[:tag][@digest]`, the tag or the digest or both. */
export interface Reference {
  /** Host with optional port, such as `127.0.0.1:5000`. */
  readonly registry: string;
  /** Such as `conda-forge/linux-64/zlib`. */
  readonly repository: string;
  readonly tag?: string | undefined;
  readonly digest?: Digest | undefined;
}

/** Host and repository together may have this many characters; many registries fail oddly beyond. */
export const MAX_NAME_LENGTH = 255;

const NAME_PATTERN = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG_PATTERN = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const HOST_PATTERN = /^(?:\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?)(?::[0-9]{1,5})?$/;

/** Tells whether `name` may name a repository. @see distribution-spec v1.1.1, "Pulling manifests" */
export function isRepositoryName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && NAME_PATTERN.test(name);
}

/** Tells whether `tag` may be a tag. @see distribution-spec v1.1.1, "Pulling manifests" */
export function isTag(tag: string): boolean {
  return TAG_PATTERN.test(tag);
}

/** Tells whether `host` is a host with an optional port. */
export function isRegistryHost(host: string): boolean {
  // The pattern knows nothing of port numbers and IP addresses, which a URL could not hold.
  return HOST_PATTERN.test(host) && URL.canParse(`http://${host}`);
}

/** Parses a repository name. @throws ParseError `REFERENCE_INVALID` */
export function parseRepositoryName(name: string): string {
  if (isRepositoryName(name)) return name;
  throw new ParseError('REFERENCE_INVALID', `\`${name}\` cannot name a repository`, name);
}

/** Parses a tag. @throws ParseError `REFERENCE_INVALID` */
export function parseTag(tag: string): string {
  if (isTag(tag)) return tag;
  throw new ParseError('REFERENCE_INVALID', `\`${tag}\` cannot be a tag`, tag);
}

/**
 * Parses `registry/repository[:tag][@digest]`, for example `ghcr.io/org/noarch/foo:1.0-0` or `[::1]:5000/foo`. Where
 * both are given the digest wins and the tag informs. There is always a host and never a default tag: what a bare
 * `foo` would mean elsewhere (`docker.io/library/foo:latest`) is nothing to push to by mistake. A scheme, userinfo,
 * query or fragment is refused.
 * @throws ParseError `REFERENCE_INVALID`, position = offset of the first bad part
 * @see distribution-spec v1.1.1, "Pulling manifests"
 */
export function parseReference(text: string): Reference {
  const slash = text.indexOf('/');
  const registry = slash === -1 ? text : text.slice(0, slash);
  if (slash === -1 || !isRegistryHost(registry)) {
    throw invalid(text, 0, 'a registry host has to stand in front of the first slash');
  }
  let rest = text.slice(slash + 1);
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at !== -1) {
    const digestText = rest.slice(at + 1);
    if (!isDigest(digestText)) throw invalid(text, slash + 2 + at, 'the digest is not sha256 or sha512');
    digest = digestText;
    rest = rest.slice(0, at);
  }
  const colon = rest.indexOf(':');
  const repository = colon === -1 ? rest : rest.slice(0, colon);
  if (!isRepositoryName(repository)) throw invalid(text, slash + 1, 'the repository name is not valid');
  if (registry.length + 1 + repository.length > MAX_NAME_LENGTH) {
    throw invalid(text, slash + 1, 'host and repository have more than 255 characters together');
  }
  if (colon === -1) return { registry, repository, digest };
  const tag = rest.slice(colon + 1);
  if (!isTag(tag)) throw invalid(text, slash + 2 + colon, 'the tag is not valid');
  return { registry, repository, tag, digest };
}

/** Writes a reference so that {@link parseReference} reads the same. */
export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

function invalid(text: string, position: number, why: string): ParseError {
  // `user:password@host/…` is no reference, and no text to show.
  const shown = text.replace(/^[^/]*@/, '***@');
  return new ParseError('REFERENCE_INVALID', `\`${shown.slice(0, 300)}\` is no reference: ${why}`, shown, {
    position,
  });
}
