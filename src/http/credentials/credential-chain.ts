import { join } from 'node:path';
import { findInAuthFile, parseAuthFile, type AuthFile } from './auth-file.js';
import { cacheFile, type ReadCachedFile } from './credential-file.js';
import { createCredentialHelpers, type CredentialHelperOptions } from './credential-helper.js';
import type { Credential, CredentialPlace, FindCredential } from './credential.js';
import type { Environment } from './helper-process.js';
import { parseOrigin } from './registry-host.js';

/** The only place to which a token of GitHub Actions goes. */
const GHCR_ORIGIN = 'https://ghcr.io';
/** What GitHub calls whoever comes with a token of an app. */
const DEFAULT_GHCR_USER = 'x-access-token';
const GHCR_TOKEN = 'GITHUB_TOKEN';
const AUTH_CONFIG = 'DOCKER_AUTH_CONFIG';

/** A credential from flags or environment variables. */
export interface ExplicitCredential {
  /** The one origin that it is for, such as `https://ghcr.io`. */
  readonly origin: string;
  readonly credential: Credential;
  /** For messages, such as `--username`. */
  readonly from: string;
}

/** A credential with the place that it was found in: a file's path, `DOCKER_AUTH_CONFIG`, `GITHUB_TOKEN`, `--username`. */
export interface FoundCredential {
  readonly credential: Credential;
  readonly from: string;
}

/**
 * Finds the credential for a place, and says where it was; `undefined` where there is none, which means anonymous.
 * @throws FerryError `CREDENTIALS_UNREADABLE` where there should be one that cannot be had
 */
export type LocateCredential = (
  place: CredentialPlace,
  signal?: AbortSignal,
) => Promise<FoundCredential | undefined>;

/** Where the credentials of registries come from, in the order in which they are looked at. */
export interface CredentialSources {
  readonly explicit?: ExplicitCredential | undefined;
  /** Text of `DOCKER_AUTH_CONFIG`, in the form of Docker's `config.json`. */
  readonly authConfigText?: string | undefined;
  /** See {@link authFilePaths}; those that are not there are passed over. */
  readonly authFiles: readonly string[];
  /**
   * `GITHUB_TOKEN` and `GITHUB_ACTOR`, for exactly `https://ghcr.io`. Last, since whoever logged in meant it, and
   * this token is there in every job, whatever it may do.
   */
  readonly ghcrToken?: { readonly token: string; readonly username?: string | undefined } | undefined;
  /** What credential helpers get to see. */
  readonly helperEnvironment: Environment;
  readonly helperOptions?: Omit<CredentialHelperOptions, 'environment'> | undefined;
}

/** Makes a finder over all sources, for clients of registries; see {@link createCredentialLocator}. */
export function createCredentialFinder(sources: CredentialSources): FindCredential {
  const locate = createCredentialLocator(sources);
  return async (place, signal) => (await locate(place, signal))?.credential;
}

/**
 * Makes a finder over all sources that also says where it found what. Files are read when they are needed, and again only once they have changed; an
 * unreadable one is an error, never passed over.
 */
export function createCredentialLocator(sources: CredentialSources): LocateCredential {
  const helpers = createCredentialHelpers({
    ...sources.helperOptions,
    environment: sources.helperEnvironment,
  });
  const files: { readonly from: string; readonly read: ReadCachedFile<AuthFile> }[] = sources.authFiles.map(
    (path) => ({
      from: path,
      read: cacheFile(path, (text) => parseAuthFile(text, `credential file \`${path}\``)),
    }),
  );
  const { authConfigText = '' } = sources;
  let ofText: AuthFile | undefined;
  if (authConfigText !== '') {
    files.unshift({
      from: AUTH_CONFIG,
      // Parsed on use, so that a broken one fails only what asks for credentials.
      read: async () => Promise.resolve((ofText ??= parseAuthFile(authConfigText, `\`${AUTH_CONFIG}\``))),
    });
  }
  return async (place, signal) => {
    signal?.throwIfAborted();
    const { origin } = parseOrigin(place.origin);
    if (isExplicitFor(sources, origin)) return sources.explicit;
    for (const { from, read } of files) {
      const file = await read();
      signal?.throwIfAborted();
      const credential = file && (await findInAuthFile(file, place, helpers, signal));
      if (credential !== undefined) return { credential, from };
    }
    const credential = origin === GHCR_ORIGIN ? ghcrCredential(sources) : undefined;
    return credential && { credential, from: GHCR_TOKEN };
  };
}

/**
 * Names the places that are looked into for a registry, in their order, for "no credentials found for X (looked in
 * …)": file paths, `DOCKER_AUTH_CONFIG`, `GITHUB_TOKEN`.
 */
export function describeLookup(
  sources: CredentialSources,
  place: Pick<CredentialPlace, 'origin'>,
): readonly string[] {
  const isGhcr = parseOrigin(place.origin).origin === GHCR_ORIGIN;
  return [
    ...(sources.authConfigText ? [AUTH_CONFIG] : []),
    ...sources.authFiles,
    ...(isGhcr ? [GHCR_TOKEN] : []),
  ];
}

/**
 * Paths of the credential files that docker, podman and others share, in the order in which they are looked at:
 * `$REGISTRY_AUTH_FILE`, `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json` (or what
 * `$XDG_CONFIG_HOME` says), `~/.docker/config.json` (or what `$DOCKER_CONFIG` says). Without `$XDG_RUNTIME_DIR` its
 * place is taken by `/run/containers/<uid>/auth.json`, where the user's number is known.
 * @see containers-auth.json(5)
 */
export function authFilePaths(environment: Environment, home: string, uid?: number): readonly string[] {
  const { REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME, DOCKER_CONFIG } = environment;
  const ofUser = uid === undefined ? '' : join('/run/containers', String(uid));
  const runtime = XDG_RUNTIME_DIR ? join(XDG_RUNTIME_DIR, 'containers') : ofUser;
  const paths = [
    REGISTRY_AUTH_FILE ?? '',
    runtime === '' ? '' : join(runtime, 'auth.json'),
    join(XDG_CONFIG_HOME || join(home, '.config'), 'containers', 'auth.json'),
    join(DOCKER_CONFIG || join(home, '.docker'), 'config.json'),
  ];
  return [...new Set(paths.filter((path) => path !== ''))];
}

function isExplicitFor({ explicit }: CredentialSources, origin: string): boolean {
  return explicit !== undefined && parseOrigin(explicit.origin).origin === origin;
}

function ghcrCredential({ ghcrToken }: CredentialSources): Credential | undefined {
  if (ghcrToken === undefined || ghcrToken.token === '') return undefined;
  return { kind: 'basic', username: ghcrToken.username || DEFAULT_GHCR_USER, password: ghcrToken.token };
}
