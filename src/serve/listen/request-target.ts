import type { RequestFacts } from './request-facts.js';

/** An answer that is given without asking a handler; the connection ends with it unless it is said to go on. */
export interface Refusal {
  readonly status: number;
  readonly text: string;
  readonly headers?: readonly string[];
}

// What can stand in a URL as it is; all else goes through the parser first.
const PLAIN_TARGET = /^\/[!#$&-;=?-[\]_a-z~]*$/;
const ABSOLUTE_FORM = /^https?:\/\/[^/?#]*/i;

/**
 * Reduces a request target to path and query, such as `/conda-forge/noarch/repodata.json`. Where it names a host
 * (`http://host/path`), that is left out: nobody's word on what this server is called is taken.
 * @returns `undefined` where it is neither of these
 * @see RFC 9112, section 3.2
 */
export function parseRequestTarget(target: string): string | undefined {
  const absolute = ABSOLUTE_FORM.exec(target)?.[0];
  let path = absolute === undefined ? target : target.slice(absolute.length);
  if (absolute !== undefined && !path.startsWith('/')) path = `/${path}`;
  if (PLAIN_TARGET.test(path)) return path;
  // A URL parser takes a backslash for a slash, and others do not.
  if (!path.startsWith('/') || path.includes('\\') || !URL.canParse(`http://localhost${path}`))
    return undefined;
  return path;
}

/**
 * Tells what cannot be answered, whatever it asks for; `undefined` where handlers may have a look.
 * @param isOld whether it is HTTP/1.0
 */
export function refuseRequest(
  method: string,
  target: string,
  facts: RequestFacts,
  isOld: boolean,
): Refusal | undefined {
  if (method === 'TRACE' || method === 'CONNECT') {
    return { status: 405, text: 'method not allowed', headers: ['Allow', 'GET, HEAD'] };
  }
  // RFC 9112, section 3.2: as many as one. What it says does not matter here, but a proxy may have gone by it.
  if (facts.hosts > 1 || (facts.hosts === 0 && !isOld))
    return { status: 400, text: 'one Host header is needed' };
  if (facts.expects) return { status: 417, text: 'nothing can be expected here' };
  if (facts.hasBody) return { status: 413, text: 'requests with a body are not taken' };
  if (target === '*' && method === 'OPTIONS') {
    return { status: 204, text: '', headers: ['Allow', 'GET, HEAD'] };
  }
  return undefined;
}
