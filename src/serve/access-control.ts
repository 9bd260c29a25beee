import { createHash, timingSafeEqual } from 'node:crypto';
import { auth as basicCredentialsOf } from 'hono/utils/basic-auth';

/** Who may use the gateway. */
export interface AccessControlOptions {
  /** Names and passwords, as in `https://name:password@host/…`. A name has no colon. */
  readonly basic?: readonly { readonly username: string; readonly password: string }[] | undefined;
  /** Good as `Authorization: Bearer <token>`, and in front of a path as conda writes it: `/t/<token>/conda-forge/…`. */
  readonly tokens?: readonly string[] | undefined;
  /** Judges further tokens, such as those a token endpoint has issued. */
  readonly isToken?: ((token: string) => boolean) | undefined;
  /** Paths for all, such as a token endpoint that looks at credentials itself. @defaultValue none */
  readonly isOpen?: ((path: string) => boolean) | undefined;
  /** URL of a token endpoint, which clients of registries look for in the challenge. @defaultValue none: `conda-ferry` */
  readonly realm?: string | undefined;
}

/** Lets requests in, or not. */
export interface AccessControl {
  /** The answer to a request that is not let in; `undefined` for one that is. */
  check(request: Request): Response | undefined;
  /** Handlers behind the check; they see paths without `/t/<token>`. */
  guard(
    fetch: (request: Request) => Response | Promise<Response>,
  ): (request: Request) => Response | Promise<Response>;
}

// Whoever looks after the service has no credentials, and sees nothing there but whether it works.
const ALWAYS_OPEN = new Set(['/healthz', '/readyz']);

const BEARER = /^ *bearer +([^\s,]+) *$/i;
const PATH_TOKEN = /^\/t\/([^/]+)(?=\/|$)/;

/**
 * Asks for one of the credentials it was given; with none of them it lets nobody in. Health checks are open to all. How
 * long a comparison takes says nothing about what was compared.
 * @see RFC 7617 (Basic), RFC 6750 (Bearer)
 */
export function createAccessControl(options: AccessControlOptions): AccessControl {
  const { basic = [], tokens = [], isToken, isOpen, realm = 'conda-ferry' } = options;
  const takesTokens = tokens.length > 0 || isToken !== undefined;
  const users = basic.map(({ username, password }) => hash(`${username}:${password}`));
  const secrets = tokens.map(hash);
  const challenges = [
    ...(basic.length > 0 || !takesTokens ? ['Basic realm="conda-ferry", charset="UTF-8"'] : []),
    ...(takesTokens ? [`Bearer realm="${realm.replace(/["\\]/g, '\\$&')}"`] : []),
  ];

  const takes = (token: string): boolean => isAmong(secrets, token) || isToken?.(token) === true;
  const pathTokenOf = (path: string): string | undefined =>
    takesTokens ? PATH_TOKEN.exec(path)?.[1] : undefined;

  const check = (request: Request): Response | undefined => {
    const { pathname } = new URL(request.url);
    if (ALWAYS_OPEN.has(pathname) || isOpen?.(pathname) === true) return undefined;
    const pathToken = pathTokenOf(pathname);
    if (pathToken !== undefined && takes(decoded(pathToken))) return undefined;
    const user = basicCredentialsOf(request);
    if (user !== undefined && isAmong(users, `${user.username}:${user.password}`)) return undefined;
    const token = BEARER.exec(request.headers.get('authorization') ?? '')?.[1];
    if (token !== undefined && takesTokens && takes(token)) return undefined;
    return refusal(challenges);
  };

  return {
    check,
    guard: (fetch) => (request) => {
      const refused = check(request);
      if (refused !== undefined) return refused;
      const url = new URL(request.url);
      const pathToken = pathTokenOf(url.pathname);
      if (pathToken === undefined) return fetch(request);
      url.pathname = url.pathname.slice('/t/'.length + pathToken.length) || '/';
      return fetch(new Request(url, request));
    },
  };
}

// The shape of the distribution API's errors, so that its clients show the message; all others show the status.
function refusal(challenges: readonly string[]): Response {
  const body = { errors: [{ code: 'UNAUTHORIZED', message: 'credentials are needed here' }] };
  const headers = new Headers({ 'content-type': 'application/json', 'cache-control': 'no-store' });
  for (const challenge of challenges) headers.append('www-authenticate', challenge);
  return new Response(`${JSON.stringify(body)}\n`, { status: 401, headers });
}

function hash(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/** All are looked at, also behind one that fits. */
function isAmong(hashes: readonly Buffer[], text: string): boolean {
  const wanted = hash(text);
  let found = false;
  for (const known of hashes) found = timingSafeEqual(known, wanted) || found;
  return found;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
