import { getDomain } from 'tldts';
import { z } from 'zod';
import { FerryError, ResponseError } from '../errors.js';
import { collect, openerOf } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import { SingleFlight } from '../io/single-flight.js';
import type { Challenge } from './challenge.js';
import { basicAuthorization, identityOf, type Credential } from './credentials/credential.js';
import { describeAnswer, responseError } from './response-error.js';
import type { HttpRequest, Send } from './send.js';
import { resolveServerUrl } from './server-url.js';

const MAX_TOKEN_BYTES = 128 * 1024;
const TIME_LIMIT_MS = 15_000;
/** @see distribution token specification: "expires_in … defaults to 60 seconds" */
const DEFAULT_LIFETIME_MS = 60_000;
/** A token is renewed this long before its end, or a tenth of its life, whichever is longer. */
const MARGIN_MS = 10_000;
/** A refusal is believed for this long, so that a thousand packages do not all ask again. */
const REFUSAL_MS = 5000;
const CLIENT_ID = 'conda-ferry';
/** Neighbours at a host for everybody, such as `a.github.io` and `b.github.io`, are strangers. @see publicsuffix.org */
const DOMAIN_RULES = { allowPrivateDomains: true };

/** What a token is wanted for. */
export interface TokenRequest {
  /** A `bearer` challenge. */
  readonly challenge: Challenge;
  /** Where the challenge came from. */
  readonly url: URL;
  readonly credential: Credential | undefined;
  /** Such as `['repository:org/noarch/zlib:pull,push']`. */
  readonly scopes: readonly string[];
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link TokenService}. */
export interface TokenServiceOptions {
  /** Sends with retries, without authorization. */
  readonly send: Send;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Told when credentials are held back from a realm. */
  readonly onWarning?: ((text: string) => void) | undefined;
}

interface Token {
  readonly value: string;
  readonly scopes: ReadonlyMap<string, ReadonlySet<string>>;
  /** When it is to be renewed. */
  readonly renewAt: number;
}

/**
 * Fetches bearer tokens and keeps them while they last: one for each place, credential and set of scopes, and one
 * request for all who want the same at the same time. A token that allows more serves for less.
 * @see distribution "Token Authentication Specification"; RFC 6749, section 6
 */
export class TokenService {
  readonly #options: TokenServiceOptions;
  /** By realm, service and credential. */
  readonly #tokens = new Map<string, Token[]>();
  readonly #refusals = new Map<string, { readonly error: FerryError; readonly until: number }>();
  readonly #flights = new SingleFlight<Token>();
  readonly #warned = new Set<string>();

  constructor(options: TokenServiceOptions) {
    this.#options = options;
  }

  /**
   * A token for these scopes, from the store or the server.
   * @throws ResponseError `UNAUTHORIZED`, `DENIED` and others by the answer; FerryError `REGISTRY_REFUSED` for a realm that
   * is not safe or an answer that is no token; TransportError
   */
  async get(request: TokenRequest): Promise<string> {
    const owner = ownerKey(request);
    const wanted = scopeSet(request.scopes);
    const now = this.#options.now();
    const live = (this.#tokens.get(owner) ?? []).filter((token) => token.renewAt > now);
    this.#tokens.set(owner, live);
    const known = live.find((token) => covers(token.scopes, wanted));
    if (known !== undefined) return known.value;
    const key = `${owner}\n${formatScopes(wanted).join(' ')}`;
    const refusal = this.#refusals.get(key);
    if (refusal !== undefined && refusal.until > now) throw refusal.error;
    const fetched = await this.#flights.do(
      key,
      async () => {
        try {
          const token = await this.#fetch(request, wanted);
          this.#tokens.get(owner)?.push(token);
          return token;
        } catch (error) {
          if (error instanceof ResponseError && (error.status === 401 || error.status === 403)) {
            this.#noteRefusal(key, error);
          }
          throw error;
        }
      },
      request.signal,
    );
    return fetched.value;
  }

  /** Those that are over go, so that made-up names do not fill the memory. */
  #noteRefusal(key: string, error: FerryError): void {
    const now = this.#options.now();
    for (const [old, { until }] of this.#refusals) {
      if (until > now) break;
      this.#refusals.delete(old);
    }
    // Last in the map, as it ends last.
    this.#refusals.delete(key);
    this.#refusals.set(key, { error, until: now + REFUSAL_MS });
  }

  /** Forgets a token that a server did not take. */
  drop(value: string): void {
    for (const [owner, tokens] of this.#tokens) {
      this.#tokens.set(
        owner,
        tokens.filter((token) => token.value !== value),
      );
    }
  }

  async #fetch(request: TokenRequest, wanted: ReadonlyMap<string, ReadonlySet<string>>): Promise<Token> {
    const realm = realmOf(request);
    const credential = this.#credentialFor(realm, request);
    const scopes = formatScopes(wanted);
    const http =
      credential?.kind === 'refresh'
        ? refreshRequest(realm, request, credential.token, scopes)
        : plainRequest(realm, request, credential, scopes);
    const response = await this.#options.send(http);
    // Not when it was asked for: the request may have waited for minutes until the host's limiter let it go.
    const received = this.#options.now();
    if (response.status !== 200) throw await tokenError(http, response, request, scopes);
    const body = await collect(response.body, MAX_TOKEN_BYTES, `token of ${redactUrl(realm)}`);
    const { value, lifetimeMs } = parseToken(body, realm);
    const marginMs = Math.min(Math.max(MARGIN_MS, lifetimeMs / 10), lifetimeMs / 2);
    // The server's clock may be wrong by hours; its lifetime is not.
    return { value, scopes: wanted, renewAt: received + lifetimeMs - marginMs };
  }

  /**
   * A registry says where its tokens come from, and could name a stranger. So credentials go to its own host or one of
   * the same registrable domain only.
   * @see oras-go GHSA-28r5-37g7-p6mp
   */
  #credentialFor(realm: URL, { credential, url }: TokenRequest): Credential | undefined {
    if (credential === undefined || isRelated(realm, url)) return credential;
    const text = `\`${url.host}\` takes tokens from \`${realm.host}\`, which is no relation of it: credentials were not sent`;
    if (!this.#warned.has(text)) this.#options.onWarning?.(text);
    this.#warned.add(text);
    return undefined;
  }
}

/** Scopes that a challenge asks for: `repository:a:pull,push repository:b:pull`. */
export function scopesOf(challenge: Challenge): readonly string[] {
  return (challenge.parameters.get('scope') ?? '').split(' ').filter((scope) => scope !== '');
}

function isRelated(realm: URL, registry: URL): boolean {
  if (realm.hostname === registry.hostname) return true;
  const domain = getDomain(registry.hostname, DOMAIN_RULES);
  return domain !== null && domain === getDomain(realm.hostname, DOMAIN_RULES);
}

function realmOf({ challenge, url }: TokenRequest): URL {
  const realm = challenge.parameters.get('realm');
  if (realm === undefined || realm === '') {
    throw new FerryError('REGISTRY_REFUSED', `\`${url.host}\` asks for a token without saying where from`);
  }
  return resolveServerUrl(realm, url);
}

function plainRequest(
  realm: URL,
  { challenge, url, signal }: TokenRequest,
  credential: Credential | undefined,
  scopes: readonly string[],
): HttpRequest {
  const target = new URL(realm);
  const service = challenge.parameters.get('service');
  if (service !== undefined) target.searchParams.set('service', service);
  for (const scope of scopes) target.searchParams.append('scope', scope);
  const headers = credential?.kind === 'basic' ? { authorization: basicAuthorization(credential) } : {};
  const givenBy = target.origin === url.origin ? undefined : url;
  return {
    method: 'GET',
    url: target,
    headers,
    signal,
    givenBy,
    identity: identityOf(credential),
    lane: 'token',
    timeLimitMs: TIME_LIMIT_MS,
    bufferUpTo: MAX_TOKEN_BYTES,
  };
}

function refreshRequest(
  realm: URL,
  { challenge, url, signal }: TokenRequest,
  token: string,
  scopes: readonly string[],
): HttpRequest {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: token,
    client_id: CLIENT_ID,
  });
  const service = challenge.parameters.get('service');
  if (service !== undefined) form.set('service', service);
  if (scopes.length > 0) form.set('scope', scopes.join(' '));
  const bytes = Buffer.from(form.toString(), 'utf8');
  return {
    method: 'POST',
    url: realm,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: { size: bytes.byteLength, open: openerOf(bytes) },
    signal,
    repeatable: true,
    lane: 'token',
    givenBy: realm.origin === url.origin ? undefined : url,
    timeLimitMs: TIME_LIMIT_MS,
    bufferUpTo: MAX_TOKEN_BYTES,
  };
}

async function tokenError(
  http: HttpRequest,
  response: Awaited<ReturnType<Send>>,
  { credential, url }: TokenRequest,
  scopes: readonly string[],
): Promise<ResponseError> {
  const hint =
    credential === undefined
      ? `what you ask for is absent or private: log in with conda-ferry login ${url.host}`
      : `\`${url.host}\` does not take these credentials for that`;
  const error = await responseError(http, response, hint);
  const answer = describeAnswer(error.status, error.errors);
  // The URL of the token server says nothing to anybody.
  const wish = scopes.length === 0 ? '' : ` to \`${scopes.join(' ')}\``;
  const message = `the token server of \`${url.host}\` ${answer}${wish}`;
  return new ResponseError(error.code, message, error, { cause: error.cause, hint: error.hint });
}

const tokenSchema = z.looseObject({
  token: z.string().nullish(),
  access_token: z.string().nullish(),
  expires_in: z.number().nullish(),
});

function parseToken(body: Uint8Array, realm: URL): { readonly value: string; readonly lifetimeMs: number } {
  let document: unknown;
  try {
    document = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    document = undefined;
  }
  const { data } = tokenSchema.safeParse(document);
  // Either may be there and empty, as Go writes what it does not have.
  const value = [data?.token, data?.access_token].find(Boolean) ?? '';
  // A token goes into a header as it is.
  if (!/^[\x21-\x7e]+$/.test(value)) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(realm)} answered without a token`);
  }
  const seconds = data?.expires_in ?? 0;
  return { value, lifetimeMs: seconds > 0 ? seconds * 1000 : DEFAULT_LIFETIME_MS };
}

function ownerKey({ challenge, url, credential }: TokenRequest): string {
  const { parameters } = challenge;
  return [url.origin, parameters.get('realm'), parameters.get('service'), secretOf(credential)].join('\n');
}

function secretOf(credential: Credential | undefined): string {
  if (credential === undefined) return '';
  return credential.kind === 'basic' ? `${credential.username}\n${credential.password}` : credential.token;
}

/** Resource to actions: merged, so that the same want always is the same key. Names may hold `:`. */
function scopeSet(scopes: readonly string[]): ReadonlyMap<string, ReadonlySet<string>> {
  const merged = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(':');
    const resource = scope.slice(0, Math.max(colon, 0));
    const actions = merged.get(resource) ?? new Set();
    merged.set(resource, actions);
    for (const action of scope.slice(colon + 1).split(',')) if (action !== '') actions.add(action);
  }
  return merged;
}

/** Some servers honour only the first scope, so what is written to stands first. */
function formatScopes(scopes: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const texts = [...scopes].map(([resource, actions]) => {
    const list = actions.has('*') ? ['*'] : [...actions].sort();
    return resource === '' ? list.join(',') : `${resource}:${list.join(',')}`;
  });
  const rank = (text: string): number => (/[:,](?:push|delete|\*)(?:,|$)/.test(text) ? 0 : 1);
  return texts.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

function covers(
  has: ReadonlyMap<string, ReadonlySet<string>>,
  wanted: ReadonlyMap<string, ReadonlySet<string>>,
): boolean {
  return [...wanted].every(([resource, actions]) => {
    const granted = has.get(resource);
    return granted !== undefined && (granted.has('*') || [...actions].every((action) => granted.has(action)));
  });
}
