import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isSubdir } from '../conda/names.js';
import { FerryError, ParseError } from '../errors.js';
import { isRegistryHost } from '../oci/reference.js';

/** Where a channel is, as the command line says it. */
export type Location =
  | { readonly kind: 'web'; readonly url: URL }
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'registry'; readonly host: string; readonly path: string }
  | { readonly kind: 'layout'; readonly path: string };

/** A location that holds artifacts. */
export type StoreLocation = Extract<Location, { readonly kind: 'registry' | 'layout' }>;

/** Where channels that are given by name alone are looked for. */
const CHANNEL_ALIAS = 'https://conda.anaconda.org/';
/** Hosts that can be nothing but registries, so that `oci://` may be left out. */
const KNOWN_REGISTRIES = new Set([
  'ghcr.io',
  'docker.io',
  'quay.io',
  'registry.gitlab.com',
  'public.ecr.aws',
]);

/**
 * Parses a location: `https://host/channel`, `file:///dir`, `./dir`, `conda-forge`, `oci://host[:port]/path`,
 * `docker://…`, `ghcr.io/path`, `oci-layout:./dir`.
 * @throws ParseError `CHANNEL_INVALID`
 */
export function parseLocation(text: string): Location {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === 'oci-layout') return layoutLocation(text);
  if (scheme === 'oci' || scheme === 'docker')
    return registryLocation(text, text.replace(/^[a-z]+:\/\//i, ''));
  if (scheme === 'http' || scheme === 'https') return webLocation(text, text);
  if (scheme === 'file') return fileLocation(text);
  if (/^(?:\.{1,2}(?:\/|$)|\/|~\/)/.test(text)) return { kind: 'folder', path: resolve(text) };
  const host = text.split('/')[0] ?? '';
  if (KNOWN_REGISTRIES.has(host)) return registryLocation(text, text);
  if (host.includes('.') || host.includes(':')) {
    const shown = shownLocation(text);
    throw new ParseError('CHANNEL_INVALID', `\`${shown}\` may be a registry or a web server`, shown, {
      hint: `write oci://${shown} for a registry, https://${shown} for an ordinary channel`,
    });
  }
  if (!/^[a-z0-9][a-z0-9_./-]*$/i.test(text)) {
    const shown = shownLocation(text);
    throw new ParseError('CHANNEL_INVALID', `\`${shown}\` is no channel`, shown, {
      hint: 'write a URL, a folder as ./dir, oci://host/path, oci-layout:./dir or a channel name',
    });
  }
  if (existsSync(text)) {
    throw new ParseError(
      'CHANNEL_INVALID',
      `\`${text}\` is a folder here, and may be a channel's name too`,
      text,
      {
        hint: `write ./${text} for the folder, ${CHANNEL_ALIAS}${text} for the channel`,
      },
    );
  }
  return webLocation(text, `${CHANNEL_ALIAS}${text}`);
}

/**
 * Parses the host of a registry: `ghcr.io`, `127.0.0.1:5000`, also written `oci://ghcr.io` or `https://ghcr.io/`.
 * @throws ParseError `REFERENCE_INVALID`
 */
export function parseRegistryHost(text: string): string {
  const host = text.replace(/^(?:oci|docker|https?):\/\//i, '').replace(/\/+$/, '');
  if (isRegistryHost(host)) return host;
  throw new ParseError('REFERENCE_INVALID', 'what was given is no registry host', '', {
    hint: 'write the host alone, such as ghcr.io or registry.example.org:5000',
  });
}

/** The store of a location, so that a repository behind it makes a location again: `oci://host`, `oci-layout:/dir`. */
export function formatStore(location: ArtifactLocation['store']): string {
  return location.kind === 'registry' ? `oci://${location.host}` : `oci-layout:${location.path}`;
}

/** A place of one artifact: its store, and what names it there. */
export interface ArtifactLocation {
  readonly store: StoreLocation;
  readonly repository: string;
  /** Tag or digest; the digest where both are given. */
  readonly reference: string;
  readonly tag: string | undefined;
}

/**
 * Parses the place of one artifact: `oci://host/path:tag`, `oci://host/path@sha256:…`, `oci://host/path:tag@sha256:…`,
 * `oci-layout:./dir/noarch/x:tag`.
 * @throws ParseError `REFERENCE_INVALID`
 */
export async function parseArtifactLocation(text: string): Promise<ArtifactLocation> {
  const match =
    /^(?<where>.+?)(?::(?<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?<digest>[a-z0-9]+:[0-9a-f]+))?$/.exec(
      text,
    );
  // The digest wins, and the tag informs.
  const tag = match?.groups?.['tag'];
  const reference = match?.groups?.['digest'] ?? tag;
  const where = match?.groups?.['where'];
  if (where === undefined || reference === undefined) {
    const shown = shownLocation(text);
    throw new ParseError(
      'REFERENCE_INVALID',
      `\`${shown}\` names no artifact: a tag or digest is missing`,
      shown,
      {
        hint: 'write oci://host/channel/noarch/name:version-build or oci-layout:./dir/noarch/name:version-build',
      },
    );
  }
  const location = parseLocation(where);
  if (location.kind === 'registry')
    return { store: { ...location, path: '' }, repository: location.path, reference, tag };
  if (location.kind !== 'layout') {
    const shown = shownLocation(text);
    throw new ParseError(
      'REFERENCE_INVALID',
      `\`${shown}\` is neither in a registry nor in an image layout`,
      shown,
    );
  }
  return { ...(await splitLayoutPath(location.path)), reference, tag };
}

/** Repositories that have no subdir above them, in both schemas. @see v1/C1 */
export const CHANNEL_METADATA: ReadonlySet<string> = new Set(['channeldata.json', 'notices.json']);

/**
 * The layout of a repository is its own folder. What stands above `<subdir>/<name>` is the store; a layout that lies
 * below no subdir is taken for a repository of one component, as metadata of the channel itself is.
 */
async function splitLayoutPath(path: string): Promise<Pick<ArtifactLocation, 'store' | 'repository'>> {
  const isLayout = await stat(`${path}/oci-layout`).then(
    () => true,
    () => false,
  );
  if (!isLayout) {
    throw new FerryError('NOT_FOUND', `there is no image layout at \`${path}\``, {
      hint: 'a channel on disk has one layout per package: oci-layout:DIR/noarch/name:version-build',
    });
  }
  const parts = path.split('/');
  const isBelowSubdir = isSubdir(parts.at(-2) ?? '') && !CHANNEL_METADATA.has(parts.at(-1) ?? '');
  const depth = isBelowSubdir ? 2 : 1;
  return {
    store: { kind: 'layout', path: parts.slice(0, -depth).join('/') },
    repository: parts.slice(-depth).join('/'),
  };
}

function fileLocation(text: string): Location {
  try {
    return { kind: 'folder', path: fileURLToPath(text) };
  } catch {
    // Without the cause, which would hold the text.
    const shown = shownLocation(text);
    throw new ParseError('CHANNEL_INVALID', `\`${shown}\` names no folder of this machine`, shown);
  }
}

function layoutLocation(text: string): Location {
  const path = text.slice('oci-layout:'.length);
  if (path === '') throw new ParseError('CHANNEL_INVALID', '`oci-layout:` needs a folder', text);
  return { kind: 'layout', path: resolve(path) };
}

function registryLocation(text: string, rest: string): Location {
  const slash = rest.indexOf('/');
  const host = slash === -1 ? rest : rest.slice(0, slash);
  const path = slash === -1 ? '' : rest.slice(slash + 1).replace(/\/+$/, '');
  if (host.includes('@')) {
    throw new ParseError('CHANNEL_INVALID', 'a registry location holds no user name or password', '', {
      hint: 'log in with conda-ferry login, or pass --username and --password-stdin',
    });
  }
  if (!isRegistryHost(host)) {
    const shown = shownLocation(text);
    throw new ParseError('CHANNEL_INVALID', `\`${shown}\` has no valid host`, shown);
  }
  return { kind: 'registry', host, path };
}

function webLocation(text: string, href: string): Location {
  let url: URL;
  try {
    url = new URL(href);
  } catch {
    // Without the cause, which would hold the text.
    const shown = shownLocation(text);
    throw new ParseError('CHANNEL_INVALID', `\`${shown}\` is no URL`, shown);
  }
  if (url.search !== '' || url.hash !== '') {
    throw new ParseError('CHANNEL_INVALID', 'the URL of a channel has neither query nor fragment', url.host);
  }
  return { kind: 'web', url };
}

/**
 * A location as it may be shown: without what stands where passwords and tokens do, also where it cannot be parsed.
 * Shape: `https://***@host/t/***` and `https://host/x?***`
 */
export function shownLocation(text: string): string {
  if (text.startsWith('oci-layout:')) return text;
  return (
    text
      .replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@(?!sha\d+:)/i, '$1***@')
      // A password whose host was forgotten looks like a port.
      .replace(/^([a-z][a-z0-9+.-]*:\/\/[^/:[]*):(?!\d*(?:\/|$))[^/]*/i, '$1:***')
      .replace(/\/t\/[^/]+/g, '/t/***')
      .replace(/\?.*$/, '?***')
  );
}
