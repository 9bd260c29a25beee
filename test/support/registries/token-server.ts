import { randomUUID, sign, X509Certificate, type KeyLike } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { makeSelfSigned } from './certificates.js';
import { registryFolder } from './distribution.js';
import { TEST_USER } from './docker.js';

/** One action somebody wants to do, such as `push` to the repository `a/b`. */
export interface WantedAction {
  /** `undefined` for somebody without a password. */
  readonly user: string | undefined;
  /** `repository` or `registry`. */
  readonly type: string;
  readonly name: string;
  /** `pull`, `push`, `delete` or `*`. */
  readonly action: string;
}

/** What a token server goes by. All of it may be changed while it runs. */
export interface TokenRules {
  /** Passwords by user name. @defaultValue {@link TEST_USER} */
  users: Readonly<Record<string, string>>;
  /** What is granted; the rest of a scope is left out of the token. @defaultValue everything to users, nothing to others */
  allows: (wanted: WantedAction) => boolean;
  /** Whether somebody without a password gets a token, as on registries with public repositories. @defaultValue false */
  anonymous: boolean;
  /** Seconds that the answer says the token lasts; `undefined` leaves it out. @defaultValue 300 */
  expiresIn: number | undefined;
  /** Seconds that it really lasts; registries allow 60 more, so -120 is a token that is of no use. @defaultValue 300 */
  lifetime: number;
  /** Whether it takes OAuth2's POST; registries such as ACR and Artifactory do not. @defaultValue true */
  acceptsPost: boolean;
}

/** One request for a token as it came in. */
export interface TokenRequest {
  readonly method: string;
  /** One entry for each `scope`, such as `repository:a/b:pull,push`. */
  readonly scopes: readonly string[];
  readonly service: string | undefined;
  readonly authorization: string | undefined;
  /** OAuth2's, of a POST. */
  readonly grantType: string | undefined;
  readonly status: number;
}

/** A server that gives out tokens. */
export interface TokenServer extends AsyncDisposable {
  /** The realm, such as `http://127.0.0.1:34567/token`. */
  readonly url: string;
  readonly service: string;
  readonly issuer: string;
  /** What a registry checks the tokens with. */
  readonly certificateFile: string;
  /** All requests so far; empty it to start anew. */
  readonly requests: TokenRequest[];
  readonly rules: TokenRules;
}

interface Identity {
  readonly key: KeyLike;
  /** The certificate as in a token's header. */
  readonly x5c: string;
  readonly issuer: string;
}

interface Asked {
  readonly parameters: URLSearchParams;
  readonly credentials: { readonly user: string; readonly password: string } | undefined;
}

const ISSUER = 'test-issuer';
const SERVICE = 'test-service';

/**
 * Starts a token server on a free port of 127.0.0.1, with a key of its own.
 * @see distribution, "Token Authentication Specification" and "OAuth2 Token Authentication"
 */
export async function startTokenServer(rules: Partial<TokenRules> = {}): Promise<TokenServer> {
  const folder = await registryFolder();
  const { keyFile, certificateFile } = await makeSelfSigned(folder, 'tokens');
  const identity: Identity = {
    key: await readFile(keyFile),
    x5c: new X509Certificate(await readFile(certificateFile)).raw.toString('base64'),
    issuer: ISSUER,
  };
  const current: TokenRules = {
    users: { [TEST_USER.username]: TEST_USER.password },
    allows: ({ user }) => user !== undefined,
    anonymous: false,
    expiresIn: 300,
    lifetime: 300,
    acceptsPost: true,
    ...rules,
  };
  const requests: TokenRequest[] = [];
  const refreshTokens = new Map<string, string>();
  const server = createServer((request, response) => {
    answer(request, response, { identity, rules: current, requests, refreshTokens }).catch(() =>
      response.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`,
    service: SERVICE,
    issuer: ISSUER,
    certificateFile,
    requests,
    rules: current,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Desk {
  readonly identity: Identity;
  readonly rules: TokenRules;
  readonly requests: TokenRequest[];
  /** Refresh token to user. */
  readonly refreshTokens: Map<string, string>;
}

async function answer(request: IncomingMessage, response: ServerResponse, desk: Desk): Promise<void> {
  const asked = await read(request);
  const { parameters } = asked;
  // OAuth2 puts all scopes into one parameter, the older way repeats it.
  const scopes = parameters.getAll('scope').flatMap((scope) => scope.split(' ').filter(Boolean));
  const [status, body] = decide(request, asked, scopes, desk);
  desk.requests.push({
    method: request.method ?? '',
    scopes,
    service: parameters.get('service') ?? undefined,
    authorization: request.headers.authorization,
    grantType: parameters.get('grant_type') ?? undefined,
    status,
  });
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function decide(
  { method }: IncomingMessage,
  { parameters, credentials }: Asked,
  scopes: readonly string[],
  { identity, rules, refreshTokens }: Desk,
): [status: number, body: object] {
  if (method !== 'GET' && !(method === 'POST' && rules.acceptsPost)) return [405, errorOf('UNSUPPORTED')];
  const refreshToken = parameters.get('refresh_token');
  const refreshed = refreshToken === null ? undefined : refreshTokens.get(refreshToken);
  if (refreshToken !== null && refreshed === undefined) return [401, errorOf('UNAUTHORIZED')];
  if (credentials !== undefined && rules.users[credentials.user] !== credentials.password) {
    return [401, errorOf('UNAUTHORIZED')];
  }
  const user = refreshed ?? credentials?.user;
  if (user === undefined && !rules.anonymous) return [401, errorOf('UNAUTHORIZED')];
  const access = scopes.map((scope) => grant(scope, user, rules)).filter(({ actions }) => actions.length > 0);
  const token = makeToken(identity, user ?? '', parameters.get('service') ?? '', access, rules.lifetime);
  const wantsRefresh =
    parameters.get('offline_token') === 'true' || parameters.get('access_type') === 'offline';
  const fresh = wantsRefresh && user !== undefined ? randomUUID() : undefined;
  if (fresh !== undefined && user !== undefined) refreshTokens.set(fresh, user);
  return [
    200,
    {
      token,
      access_token: token,
      ...(rules.expiresIn === undefined ? {} : { expires_in: rules.expiresIn }),
      ...(fresh === undefined ? {} : { refresh_token: fresh }),
      issued_at: new Date().toISOString(),
    },
  ];
}

async function read(request: IncomingMessage): Promise<Asked> {
  if (request.method === 'POST') {
    const parameters = new URLSearchParams(await text(request));
    const [user, password] = [parameters.get('username'), parameters.get('password')];
    return { parameters, credentials: user === null || password === null ? undefined : { user, password } };
  }
  const parameters = new URL(request.url ?? '', 'http://token.invalid').searchParams;
  const basic = /^Basic (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (basic === undefined) return { parameters, credentials: undefined };
  const pair = Buffer.from(basic, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  return { parameters, credentials: { user: pair.slice(0, colon), password: pair.slice(colon + 1) } };
}

/** What of `repository:host:5000/name:pull,push` is granted; the name may hold colons. */
function grant(
  scope: string,
  user: string | undefined,
  { allows }: TokenRules,
): { type: string; name: string; actions: string[] } {
  const [first, last] = [scope.indexOf(':'), scope.lastIndexOf(':')];
  const [type, name] = [scope.slice(0, first), scope.slice(first + 1, last)];
  const wanted = scope.slice(last + 1).split(',');
  return { type, name, actions: wanted.filter((action) => allows({ user, type, name, action })) };
}

function makeToken(
  { key, x5c, issuer }: Identity,
  sub: string,
  aud: string,
  access: readonly object[],
  lifetime: number,
): string {
  const now = Math.floor(Date.now() / 1000);
  const header = { typ: 'JWT', alg: 'RS256', x5c: [x5c] };
  // Valid from before its end even where it has ended already, and from before now, since clocks differ.
  const nbf = Math.min(now, now + lifetime) - 10;
  const claims = { iss: issuer, sub, aud, exp: now + lifetime, nbf, iat: now, jti: randomUUID(), access };
  const content = [header, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${content}.${sign('RSA-SHA256', Buffer.from(content), key).toString('base64url')}`;
}

function errorOf(code: string): object {
  return { errors: [{ code, message: code.toLowerCase() }] };
}
