import { cacheFile } from './credential-file.js';
import type { Credential } from './credential.js';
import { findInNetrc, parseNetrc } from './netrc.js';
import { findInRattlerAuth, parseRattlerAuth, type CondaToken } from './rattler-auth.js';

/** What proves to an ordinary conda channel who is asking. */
export type ChannelCredential = Credential | CondaToken;

/**
 * Finds the credential of an ordinary conda channel; `undefined` where there is none, which means anonymous.
 * @throws FerryError `CREDENTIALS_UNREADABLE` where there should be one that cannot be had
 */
export type FindChannelCredential = (
  url: URL,
  signal?: AbortSignal,
) => Promise<ChannelCredential | undefined>;

/** Where {@link createChannelCredentialFinder} looks, after the URL itself. */
export interface ChannelCredentialSources {
  /** Files of rattler, pixi and rattler-build, the first that knows the host counts; see `rattlerAuthPaths`. */
  readonly rattlerAuthFiles: readonly string[];
  /** See `netrcPath`. */
  readonly netrcFile?: string | undefined;
}

/** Makes a finder that looks into the channel's URL, then into rattler's files, then into netrc. */
export function createChannelCredentialFinder(sources: ChannelCredentialSources): FindChannelCredential {
  const readers = [
    ...sources.rattlerAuthFiles.map((path) => {
      const read = cacheFile(path, (text) => parseRattlerAuth(text, path));
      return async (host: string) => {
        const file = await read();
        return file && findInRattlerAuth(file, host);
      };
    }),
    ...(sources.netrcFile === undefined ? [] : [sources.netrcFile]).map((path) => {
      const read = cacheFile(path, (text) => parseNetrc(text, path));
      return async (host: string) => {
        const entries = await read();
        return entries && findInNetrc(entries, host);
      };
    }),
  ];
  return async (url, signal) => {
    const own = credentialOfUrl(url);
    if (own !== undefined) return own;
    for (const find of readers) {
      signal?.throwIfAborted();
      const credential = await find(url.hostname);
      if (credential !== undefined) return credential;
    }
    return undefined;
  };
}

/**
 * The credential that a channel's URL carries: `https://me:pass@conda.example/private` or
 * `https://conda.anaconda.org/t/<token>/private`.
 */
export function credentialOfUrl(url: URL): ChannelCredential | undefined {
  if (url.username !== '' || url.password !== '')
    return { kind: 'basic', username: decode(url.username), password: decode(url.password) };
  const token = /\/t\/([^/]+)/.exec(url.pathname)?.[1];
  return token === undefined ? undefined : { kind: 'conda-token', token: decode(token) };
}

/** The URL without user name and password, which belong into a header; a token in its path stays. */
export function withoutUserinfo(url: URL): URL {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare;
}

/**
 * Puts a token in front of a URL's path, as conda does: `https://conda.anaconda.org/private` becomes
 * `https://conda.anaconda.org/t/<token>/private`. A URL that carries one already stays as it is.
 */
export function withCondaToken(url: URL, token: string): URL {
  const marked = new URL(url);
  if (!/\/t\/[^/]+/.test(url.pathname)) marked.pathname = `/t/${encodeURIComponent(token)}${url.pathname}`;
  return marked;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A bare percent sign is what it is.
    return text;
  }
}
