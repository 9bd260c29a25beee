import { FerryError } from '../../errors.js';
import { printableKey } from './printable.js';

/** The name under which Docker keeps the login to its own registry. */
export const DOCKER_HUB_SERVER = 'https://index.docker.io/v1/';

const DOCKER_HUB = 'docker.io';
/** One registry: what users write, what Docker's files say, and the host that answers. */
const DOCKER_HUB_NAMES = new Set([DOCKER_HUB, 'index.docker.io', 'registry-1.docker.io']);

const DEFAULT_PORTS: Readonly<Record<string, string>> = { 'https:': '443', 'http:': '80' };

/** A key of a credential file, taken apart. */
export interface CredentialKey {
  /** Host, with port if the key has one; Docker's registry is always `docker.io`. */
  readonly host: string;
  /** Such as `org/conda-forge`; only Podman's keys have one. */
  readonly path: string | undefined;
}

/**
 * Takes a key apart: `ghcr.io`, `127.0.0.1:5000`, Podman's `ghcr.io/org/repo`, or a URL such as
 * `https://index.docker.io/v1/`, whose path says nothing.
 * @see containers-auth.json(5), "FORMAT"
 */
export function parseCredentialKey(key: string): CredentialKey {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(key)?.[0] ?? '';
  const rest = key.slice(scheme.length);
  const slash = rest.indexOf('/');
  const host = normalizeHost(slash < 0 ? rest : rest.slice(0, slash));
  const path = slash < 0 || scheme !== '' ? '' : rest.slice(slash + 1).replace(/\/+$/, '');
  return { host, path: path === '' ? undefined : path };
}

/** Names under which a credential file may hold the credential of an origin, the likeliest first. */
export function hostsOfOrigin(origin: string): readonly string[] {
  const { protocol, hostname, host, port } = parseOrigin(origin);
  const defaultPort = DEFAULT_PORTS[protocol];
  const names = port === '' && defaultPort !== undefined ? [host, `${hostname}:${defaultPort}`] : [host];
  return [...new Set(names.map(normalizeHost))];
}

/** What a registry's login is written under, and asked of helpers: `ghcr.io`, `https://index.docker.io/v1/`. */
export function serverNameOf(host: string): string {
  return normalizeHost(host) === DOCKER_HUB ? DOCKER_HUB_SERVER : host.toLowerCase();
}

/**
 * Reads the host that a login is for: `ghcr.io`, `127.0.0.1:5000`, `[::1]:5000`, without scheme or path.
 * @throws FerryError `REFERENCE_INVALID`
 */
export function parseLoginHost(host: string): string {
  if (/^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/.test(host)) return normalizeHost(host);
  throw new FerryError('REFERENCE_INVALID', `\`${printableKey(host)}\` is not a registry's host`, {
    hint: 'write the host alone, such as `ghcr.io` or `registry.example.org:5000`',
  });
}

/**
 * Parses an origin such as `https://ghcr.io`.
 * @throws FerryError `REFERENCE_INVALID`
 */
export function parseOrigin(origin: string): URL {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url !== undefined && url.host !== '') return url;
  throw new FerryError('REFERENCE_INVALID', `\`${printableKey(origin)}\` is not an origin`);
}

function normalizeHost(host: string): string {
  const lower = host.toLowerCase();
  return DOCKER_HUB_NAMES.has(lower) ? DOCKER_HUB : lower;
}
