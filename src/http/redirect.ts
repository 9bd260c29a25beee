import { FerryError } from '../errors.js';
import { redactUrl } from '../io/redact.js';
import type { HttpRequest, Send } from './send.js';
import { resolveServerUrl } from './server-url.js';

const MAX_REDIRECTS = 10;
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);

/**
 * Follows redirects of GET and HEAD, and of other methods within one origin where they keep method and body (307, 308).
 * Each hop is sent anew through `send`, which adds what belongs to that origin, so nothing secret travels to another
 * one; headers given with the request stay behind on a change of origin, except `range` and `accept`, and from there
 * on the request is anonymous, also on its way back to the first. Who asked to be told of other origins gets the redirect
 * itself, unread by any gate.
 */
export function withRedirects(send: Send): Send {
  return async (request) => {
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    let current: HttpRequest = request;
    for (let hops = 0; ; hops += 1) {
      const response = await send(current);
      const location = response.header('location');
      if (!REDIRECT_STATUSES.has(response.status) || location === undefined) return response;
      const keepsMethod = response.status === 307 || response.status === 308;
      const staysHere = isSameOrigin(location, current.url);
      if (!isRead && !(keepsMethod && staysHere)) return response;
      if (request.redirects === 'tell' && !staysHere) return response;
      await response.discard();
      if (hops === MAX_REDIRECTS) {
        throw new FerryError('REGISTRY_REFUSED', `${redactUrl(request.url)} redirects without end`);
      }
      const url = resolveServerUrl(location, current.url);
      current =
        url.origin === current.url.origin
          ? { ...current, url }
          : {
              ...current,
              url,
              headers: originFreeHeaders(current.headers ?? {}),
              // Whoever names the place answers for it: a server on the internet that a private one led us to, too.
              givenBy: current.url,
            };
    }
  };
}

function isSameOrigin(location: string, base: URL): boolean {
  return URL.canParse(location, base.href) && new URL(location, base).origin === base.origin;
}

function originFreeHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name === 'range' || name === 'accept'),
  );
}
