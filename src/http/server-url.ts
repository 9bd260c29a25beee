/** The one gate for URLs that a server hands out: upload locations, links, token realms, redirects. */
import { FerryError } from '../errors.js';
import { redactUrl } from '../io/redact.js';
import { hostKind, isPrivateHost } from './address.js';

/**
 * Resolves a URL that a server handed out, such as `/v2/x/blobs/uploads/1?_state=…` at `https://ghcr.io/v2/`. Refused
 * are texts that are no URL, other schemes than http and https, the way from https to http, user names inside, and
 * private addresses where `base` is not private itself; a name is checked again when it is connected to.
 * @throws FerryError `REGISTRY_REFUSED`
 * @see oras-go GHSA-jxpm-75mh-9fp7, GHSA-h7vf-4x9w-h99v, GHSA-28r5-37g7-p6mp
 */
export function resolveServerUrl(location: string, base: URL): URL {
  let url: URL;
  try {
    url = new URL(location, base);
  } catch {
    // Its error carries both texts, secrets and all.
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(base)} points to something that is no URL`);
  }
  const why = refusalOf(url, base);
  if (why === undefined) return url;
  throw new FerryError(
    'REGISTRY_REFUSED',
    `${redactUrl(base)} points to ${redactUrl(url)}, which is not safe: ${why}`,
  );
}

/**
 * {@link resolveServerUrl} for a URL that somebody else shall go to, where no transport will look: its name is looked up, and
 * must not be in a private network unless that of `base` is too.
 * @throws FerryError `REGISTRY_REFUSED`
 */
export async function resolveUrlForOthers(location: string, base: URL): Promise<URL> {
  const url = resolveServerUrl(location, base);
  if (url.hostname === base.hostname || !(await isPrivateHost(url)) || (await isPrivateHost(base)))
    return url;
  throw new FerryError(
    'REGISTRY_REFUSED',
    `${redactUrl(base)} points to ${redactUrl(url)}, which is not safe: it leads into a private network`,
  );
}

function refusalOf(url: URL, base: URL): string | undefined {
  if (!/^https?:$/.test(url.protocol)) return 'it is neither http nor https';
  if (base.protocol === 'https:' && url.protocol !== 'https:') return 'it is not encrypted';
  if (url.username !== '' || url.password !== '') return 'it carries a user name';
  if (url.hostname === base.hostname) return undefined;
  // Whether a base that is a name is private itself, the transport finds out.
  return hostKind(url) === 'private' && hostKind(base) === 'public'
    ? 'it leads into a private network'
    : undefined;
}
