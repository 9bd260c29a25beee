import { untilAborted } from '../io/single-flight.js';
import { parseChallenges, type Challenge } from './challenge.js';
import {
  basicAuthorization,
  identityOf,
  type Credential,
  type FindCredential,
} from './credentials/credential.js';
import type { Access, HttpRequest, HttpResponse, Send } from './send.js';
import { scopesOf, type TokenService } from './token.js';

/** Tokens that one request may lose: those who share one lose it together, so bad luck comes in rows. */
const MAX_RENEWALS = 7;

/** What {@link withAuthorization} needs. */
export interface AuthorizationOptions {
  readonly findCredential: FindCredential;
  readonly tokens: TokenService;
}

/** How an origin wants to be asked, by its last challenge. */
interface Manner {
  readonly kind: 'basic' | 'bearer';
  readonly challenge: Challenge;
}

/**
 * Answers Basic and Bearer challenges with the credential of that origin, and from then on authorizes before it is
 * asked. The first request to an origin goes alone, so that all others know. A secret is never sent to an origin that
 * it was not given for, nor to a URL that another origin chose.
 * @throws what finding a credential or fetching a token throws
 * @see RFC 9110, section 11; distribution "Token Authentication Specification"
 */
export function withAuthorization(send: Send, options: AuthorizationOptions): Send {
  const manners = new Map<string, Manner | 'open'>();
  const learning = new Map<string, Promise<void>>();

  const converse: Send = async (request) => {
    const { origin } = request.url;
    let attempt = await authorize(request, manners.get(origin), options);
    for (let round = 1; ; round += 1) {
      const response = await send(attempt.request);
      if (response.status !== 401) {
        if (!manners.has(origin)) manners.set(origin, 'open');
        return response;
      }
      const manner = chooseManner(response);
      if (manner === undefined) return response;
      const error = manner.challenge.parameters.get('error');
      const isExpired = attempt.token !== undefined && error === 'invalid_token';
      if (round > 1 && (!isExpired || round > MAX_RENEWALS)) return response;
      let credential: Credential | undefined;
      try {
        credential = await options.findCredential(placeOf(request), request.signal);
      } catch (failure) {
        await response.discard();
        throw failure;
      }
      manners.set(origin, manner);
      const hasOtherProof =
        manner.kind === 'basic' ? credential?.kind === 'basic' : credential?.kind !== 'bearer';
      const isProven = 'authorization' in (attempt.request.headers ?? {});
      // The same proof again would be refused again.
      if (manner.kind === 'basic' ? isProven || !hasOtherProof : isProven && !hasOtherProof) return response;
      // Before anything else is asked: the answer holds one of the few places at this host.
      await response.discard();
      if (attempt.token !== undefined && error !== 'insufficient_scope') options.tokens.drop(attempt.token);
      attempt = await authorize(request, manner, options, scopesOf(manner.challenge));
    }
  };

  return async (request) => {
    if (request.givenBy !== undefined) return send(request);
    // A body may come from the same host, and then could not wait for itself.
    if (request.body !== undefined) return converse(request);
    const { origin } = request.url;
    const other = manners.has(origin) ? undefined : learning.get(origin);
    if (other !== undefined) {
      await untilAborted(other, request.signal);
      // Whatever became of it. Where it failed, one after the other would wait for the same failure.
      return converse(request);
    }
    if (manners.has(origin)) return converse(request);
    const conversation = converse(request);
    const settled = conversation.then(
      () => undefined,
      () => undefined,
    );
    learning.set(origin, settled);
    try {
      return await conversation;
    } finally {
      learning.delete(origin);
    }
  };
}

async function authorize(
  request: HttpRequest,
  manner: Manner | 'open' | undefined,
  { findCredential, tokens }: AuthorizationOptions,
  moreScopes: readonly string[] = [],
): Promise<{ readonly request: HttpRequest; readonly token?: string }> {
  if (manner === undefined || manner === 'open') return { request };
  const credential = await findCredential(placeOf(request), request.signal);
  if (manner.kind === 'basic') {
    if (credential?.kind !== 'basic') return { request };
    return { request: withHeader(request, basicAuthorization(credential), credential) };
  }
  if (credential?.kind === 'bearer') {
    return { request: withHeader(request, `Bearer ${credential.token}`, credential) };
  }
  const scopes = [...scopesFor(request.access), ...moreScopes];
  // Without an idea of what to ask for, the challenge has to say it.
  if (scopes.length === 0 && manner.challenge.parameters.get('scope') !== undefined) return { request };
  const { url, signal } = request;
  const token = await tokens.get({ challenge: manner.challenge, url, credential, scopes, signal });
  return { request: withHeader(request, `Bearer ${token}`, credential), token };
}

/** Bearer before Basic: it is what a registry that offers both means. */
function chooseManner(response: HttpResponse): Manner | undefined {
  const challenges = parseChallenges(response.header('www-authenticate') ?? '');
  for (const kind of ['bearer', 'basic'] as const) {
    const challenge = challenges.find(({ scheme }) => scheme === kind);
    if (challenge !== undefined && (kind === 'basic' || challenge.parameters.has('realm'))) {
      return { kind, challenge };
    }
  }
  return undefined;
}

/** Such as `repository:org/noarch/zlib:pull,push`; of a mount, its source too. */
function scopesFor(access: Access | undefined): string[] {
  if (access === undefined) return [];
  const scopes = [`repository:${access.repository}:${access.actions.join(',')}`];
  return access.from === undefined ? scopes : [...scopes, `repository:${access.from}:pull`];
}

function placeOf({ url, access }: HttpRequest): { origin: string; repository: string | undefined } {
  return { origin: url.origin, repository: access?.repository };
}

function withHeader(
  request: HttpRequest,
  authorization: string,
  credential: Credential | undefined,
): HttpRequest {
  return {
    ...request,
    headers: { ...request.headers, authorization },
    identity: identityOf(credential),
  };
}
