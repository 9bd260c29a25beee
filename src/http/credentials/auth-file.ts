/**
 * Docker's `config.json` and Podman's `auth.json`: the files that docker, podman, skopeo, oras and others share.
 * This file reads them; `save-credential.ts` writes them.
 */
import { z } from 'zod';
import { FerryError } from '../../errors.js';
import type { CredentialHelpers } from './credential-helper.js';
import { encodeBasic, type Credential, type CredentialPlace } from './credential.js';
import { printableKey } from './printable.js';
import { hostsOfOrigin, parseCredentialKey, serverNameOf } from './registry-host.js';

/** A credential file whose entries are not looked into yet: one that is broken stops nobody but its own registry. */
export interface AuthFile {
  /** For messages, such as `` credential file `/home/me/.docker/config.json` ``. */
  readonly name: string;
  /** The whole document, as it is to be written back. */
  readonly document: Readonly<Record<string, unknown>>;
  readonly auths: Readonly<Record<string, unknown>>;
  readonly credHelpers: Readonly<Record<string, unknown>>;
  readonly credsStore: string;
}

const text = z.string().nullish();
// Go, in which the tools that write these files are written, takes null for "not there".
const dictionary = z.record(z.string(), z.unknown()).nullish();
const fileSchema = z.looseObject({ auths: dictionary, credHelpers: dictionary, credsStore: text });
const entrySchema = z.looseObject({
  auth: text,
  username: text,
  password: text,
  identitytoken: text,
  registrytoken: text,
});

/**
 * Parses `{"auths": {"ghcr.io": {"auth": "dXNlcjpwYXNz"}}, "credHelpers": {"ecr.example": "ecr-login"},
 * "credsStore": "pass"}`; text without anything in it is a file without credentials. `name` is for messages.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 * @see containers-auth.json(5); docker/cli, `cli/config/configfile/file.go`
 */
export function parseAuthFile(source: string, name: string): AuthFile {
  const document = source.trim() === '' ? {} : parseJson(source, name);
  const file = fileSchema.safeParse(document);
  if (!file.success) {
    const field = file.error.issues[0]?.path[0];
    const what = typeof field === 'string' ? `\`${field}\` is not of the right type` : 'it is no JSON object';
    throw new FerryError('CREDENTIALS_UNREADABLE', `${name} cannot be read: ${what}`);
  }
  // Not the schema's copy: it would lose a key `__proto__`.
  const own = document as Record<string, unknown>;
  return {
    name,
    document: own,
    auths: (own['auths'] ?? {}) as Record<string, unknown>,
    credHelpers: (own['credHelpers'] ?? {}) as Record<string, unknown>,
    credsStore: file.data.credsStore ?? '',
  };
}

/**
 * Finds the credential for a place. A helper that the file names for the registry, or for all, is the only one that
 * is asked then; else the entry whose key is the longest prefix of `host/repository` counts, of those that hold a
 * credential at all. `https` and `http` are not told apart, as these files do not either.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 */
export async function findInAuthFile(
  file: AuthFile,
  place: CredentialPlace,
  helpers: CredentialHelpers,
  signal?: AbortSignal,
): Promise<Credential | undefined> {
  const hosts = hostsOfOrigin(place.origin);
  const helper = helperFor(file, hosts);
  if (helper !== undefined) return helpers.get(helper, serverNameOf(hosts[0] ?? ''), signal);
  for (const key of keysFor(file.auths, hosts, place.repository)) {
    const credential = readEntry(file.auths[key], `${file.name}: entry \`${printableKey(key)}\``);
    if (credential !== undefined) return credential;
  }
  return undefined;
}

/**
 * Name of the helper that keeps the secrets of a registry, `hosts` being its names; `undefined` where the file does
 * so itself, as it also does for a registry whose helper is the empty string.
 * @throws FerryError `CREDENTIALS_UNREADABLE`
 */
export function helperFor(file: AuthFile, hosts: readonly string[]): string | undefined {
  const [key] = keysFor(file.credHelpers, hosts, undefined);
  if (key === undefined) return file.credsStore === '' ? undefined : file.credsStore;
  const name = file.credHelpers[key] ?? '';
  if (typeof name === 'string') return name === '' ? undefined : name;
  const what = `${file.name}: helper of \`${printableKey(key)}\` is not a name`;
  throw new FerryError('CREDENTIALS_UNREADABLE', what);
}

/** Keys that cover a repository of a registry, the closest first; without `repository`, those of the registry. */
export function keysFor(
  entries: Readonly<Record<string, unknown>>,
  hosts: readonly string[],
  repository: string | undefined,
): readonly string[] {
  return Object.keys(entries)
    .map((key) => ({ key, ...parseCredentialKey(key) }))
    .filter(({ host, path }) => hosts.includes(host) && (path === undefined || isWithin(repository, path)))
    .sort(
      (a, b) =>
        (b.path?.length ?? 0) - (a.path?.length ?? 0) ||
        hosts.indexOf(a.host) - hosts.indexOf(b.host) ||
        // What is written as today's tools write it is newer than a URL.
        Number(b.key.toLowerCase() === b.host) - Number(a.key.toLowerCase() === a.host),
    )
    .map(({ key }) => key);
}

function isWithin(repository: string | undefined, path: string): boolean {
  return repository !== undefined && (repository === path || repository.startsWith(`${path}/`));
}

/** Reads `{"auth": "…"}` and its kin; `{}`, which stands beside a secret that a helper keeps, is none. */
function readEntry(value: unknown, name: string): Credential | undefined {
  const entry = entrySchema.safeParse(value ?? {});
  if (!entry.success) {
    const field = entry.error.issues[0]?.path[0];
    const what = typeof field === 'string' ? `has a \`${field}\` that is no text` : 'is no JSON object';
    throw new FerryError('CREDENTIALS_UNREADABLE', `${name} ${what}`);
  }
  const { auth, username, password, identitytoken, registrytoken } = entry.data;
  if (registrytoken) return { kind: 'bearer', token: registrytoken };
  if (identitytoken) return { kind: 'refresh', token: identitytoken };
  if (auth) return decodeAuth(auth, name);
  if (username && typeof password === 'string') return { kind: 'basic', username, password };
  return undefined;
}

/**
 * Encodes a user name and password as these files hold them: `user`, `pass` as `dXNlcjpwYXNz`.
 * @throws FerryError `CREDENTIALS_UNREADABLE` where they could not be read back
 */
export function encodeAuth(username: string, password: string): string {
  const problem =
    username === ''
      ? 'an empty user name'
      : username.includes(':')
        ? 'a user name with a colon'
        : /\0|\p{Cs}/u.test(username + password)
          ? 'a character that is none'
          : undefined;
  if (problem !== undefined)
    throw new FerryError('CREDENTIALS_UNREADABLE', `${problem} does not fit into a credential file`);
  return encodeBasic({ username, password });
}

function decodeAuth(auth: string, name: string): Credential {
  const refuse = (what: string): FerryError =>
    new FerryError('CREDENTIALS_UNREADABLE', `${name} has an \`auth\` that is ${what}`);
  const encoded = auth.replace(/[\r\n]/g, '');
  // Node reads whatever looks like base64 and skips the rest.
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) throw refuse('not base64');
  let decoded: string;
  try {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    decoded = decoder.decode(Buffer.from(encoded, 'base64'));
  } catch {
    throw refuse('not UTF-8 inside');
  }
  const colon = decoded.indexOf(':');
  if (colon < 1) throw refuse('not of the form `user:password` inside');
  // Docker once padded passwords with NULs, and still takes them off.
  const password = decoded.slice(colon + 1).replace(/^\0+|\0+$/g, '');
  return { kind: 'basic', username: decoded.slice(0, colon), password };
}

function parseJson(source: string, name: string): unknown {
  try {
    return JSON.parse(source);
  } catch {
    // Without the cause, which would quote the text.
    throw new FerryError('CREDENTIALS_UNREADABLE', `${name} cannot be read: it is not JSON`);
  }
}
