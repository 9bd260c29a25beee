import type { HttpRequest, HttpResponse, Send } from './send.js';

/** A user name with its password. */
export interface BasicCredentials {
  readonly username: string;
  readonly password: string;
}

/** Finds the credentials that belong to an origin such as `https://ghcr.io`. */
export type FindCredentials = (origin: string) => BasicCredentials | undefined;

/**
 * Answers a Basic challenge with the credentials of that origin, and sends them along from then on. A secret is
 * never sent to an origin that it was not given for, nor unasked, nor to a URL that another origin chose.
 * @see RFC 7617
 */
export function withBasicAuthorization(send: Send, findCredentials: FindCredentials): Send {
  const challenged = new Set<string>();
  return async (request) => {
    if (request.givenBy !== undefined) return send(request);
    const { origin } = request.url;
    const credentials = findCredentials(origin);
    if (credentials === undefined) return send(request);
    if (challenged.has(origin)) return send(authorize(request, credentials));
    const response = await send(request);
    if (response.status !== 401 || !asksForBasic(response)) return response;
    await response.discard();
    challenged.add(origin);
    return send(authorize(request, credentials));
  };
}

/** Whether one of the challenges, of which there may be several, is Basic. @see RFC 9110, section 11.6.1 */
function asksForBasic(response: HttpResponse): boolean {
  const challenges = response.header('www-authenticate') ?? '';
  return /(?:^|,)\s*basic(?:[\s,]|$)/i.test(challenges.replace(/"(?:[^"\\]|\\.)*"/g, '""'));
}

function authorize(request: HttpRequest, credentials: BasicCredentials): HttpRequest {
  const secret = Buffer.from(`${credentials.username}:${credentials.password}`, 'utf8').toString('base64');
  return { ...request, headers: { ...request.headers, authorization: `Basic ${secret}` } };
}
