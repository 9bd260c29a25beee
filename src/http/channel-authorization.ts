import { SingleFlight } from '../io/single-flight.js';
import {
  withCondaToken,
  type ChannelCredential,
  type FindChannelCredential,
} from './credentials/channel-credential.js';
import { basicAuthorization, identityOf } from './credentials/credential.js';
import type { HttpRequest, Send } from './send.js';

/**
 * Authorizes requests to an ordinary conda channel before anybody asks, as conda does: many servers say 404 of what
 * they hide. What a channel's files point to elsewhere gets nothing.
 * @throws what finding the credential throws
 */
export function withChannelAuthorization(send: Send, find: FindChannelCredential): Send {
  // Failures are not kept: a file that was mended gets another chance.
  const known = new Map<string, ChannelCredential | undefined>();
  const findings = new SingleFlight<void>();
  return async (request) => {
    if (request.givenBy !== undefined) return send(request);
    const { url, signal } = request;
    const { origin } = url;
    if (!known.has(origin)) {
      const look = async (): Promise<void> => {
        known.set(origin, await find(url, signal));
      };
      await findings.do(origin, look, signal);
    }
    return send(authorize(request, known.get(origin)));
  };
}

function authorize(request: HttpRequest, credential: ChannelCredential | undefined): HttpRequest {
  switch (credential?.kind) {
    case 'basic':
      return withHeader(request, basicAuthorization(credential), credential.username);
    case 'bearer':
      return withHeader(request, `Bearer ${credential.token}`, identityOf(credential));
    case 'conda-token':
      return { ...request, url: withCondaToken(request.url, credential.token), identity: 'conda-token' };
    case 'refresh':
    case undefined:
      return request;
  }
}

function withHeader(request: HttpRequest, authorization: string, identity: string | undefined): HttpRequest {
  return { ...request, headers: { ...request.headers, authorization }, identity };
}
