import { FerryError } from '../errors.js';
import { redactUrl } from '../io/redact.js';
import type { HttpRequest, Send } from './send.js';

const MAX_REDIRECTS = 10;
const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);

/**
 * Follows redirects of GET and HEAD. Each hop is sent anew through `send`, which adds what belongs to that origin,
 * so nothing secret travels to another one; headers given with the request stay behind on a change of origin,
 * except `range` and `accept`, and from there on the request is anonymous, also on its way back to the first. From https it never
 * goes to http.
 */
export function withRedirects(send: Send): Send {
  return async (request) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return send(request);
    let current: HttpRequest = request;
    for (let hops = 0; ; hops += 1) {
      const response = await send(current);
      const location = response.header('location');
      if (!REDIRECT_STATUSES.has(response.status) || location === undefined) return response;
      await response.discard();
      if (hops === MAX_REDIRECTS) {
        throw new FerryError('REGISTRY_REFUSED', `${redactUrl(request.url)} redirects without end`);
      }
      const url = resolveServerUrl(location, current.url);
      current =
        url.origin === current.url.origin
          ? { ...current, url }
          : { ...current, url, headers: originFreeHeaders(current.headers ?? {}), givenBy: request.url };
    }
  };
}

/** Resolves a URL that a server handed out. @throws FerryError `REGISTRY_REFUSED` from https to anything else */
export function resolveServerUrl(location: string, base: URL): URL {
  // The error of `new URL` would carry both texts, secrets and all.
  if (!URL.canParse(location, base.href)) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(base)} points to something that is no URL`);
  }
  const url = new URL(location, base);
  const isDowngrade = base.protocol === 'https:' && url.protocol !== 'https:';
  if (isDowngrade || !/^https?:$/.test(url.protocol)) {
    throw new FerryError(
      'REGISTRY_REFUSED',
      `${redactUrl(base)} points to ${redactUrl(url)}, which is not safe`,
    );
  }
  return url;
}

function originFreeHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name === 'range' || name === 'accept'),
  );
}
