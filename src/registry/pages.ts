import { z } from 'zod';
import { FerryError } from '../errors.js';
import { resolveServerUrl } from '../http/server-url.js';
import { responseError } from '../http/response-error.js';
import type { HttpRequest, Send } from '../http/send.js';
import { collect } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import type { CallOptions } from '../oci/storage.js';

const MAX_PAGE_BYTES = 8 * 1024 * 1024;
/** A server that never ends its list must not keep us for ever. */
const MAX_PAGES = 10_000;

/**
 * Follows a paginated list (`tags`, `repositories`) by its `Link` headers, on the same origin only.
 * @throws FerryError `NOT_FOUND` and others by the answer, `REGISTRY_REFUSED` for a list that loops or is none
 * @see distribution-spec v1.1.1, "Listing Tags"
 */
export async function* listPages(
  send: Send,
  first: URL,
  key: 'tags' | 'repositories',
  options: CallOptions,
): AsyncGenerator<readonly string[]> {
  const visited = new Set<string>();
  let next: URL | undefined = first;
  while (next !== undefined) {
    if (visited.has(next.href) || visited.size === MAX_PAGES) {
      throw new FerryError('REGISTRY_REFUSED', `the list at ${redactUrl(first)} does not end`);
    }
    visited.add(next.href);
    const request: HttpRequest = { method: 'GET', url: next, signal: options.signal };
    const response = await send(request);
    if (response.status !== 200) throw await responseError(request, response);
    const body = await collect(response.body, MAX_PAGE_BYTES, `list at ${redactUrl(next)}`);
    yield parsePage(body, key, next);
    next = nextPage(response.header('link'), next);
  }
}

function parsePage(body: Uint8Array, key: string, url: URL): readonly string[] {
  // `null` is how some registries write an empty list.
  const schema = z.looseObject({ [key]: z.array(z.string()).nullish() });
  try {
    const page = schema.parse(JSON.parse(Buffer.from(body).toString('utf8')));
    return page[key] ?? [];
  } catch (cause) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(url)} did not answer with a list`, { cause });
  }
}

function nextPage(link: string | undefined, current: URL): URL | undefined {
  const target = /<([^<>]*)>\s*;[^,<]*\brel="?next(?:["\s;,]|$)/i.exec(link ?? '')?.[1];
  if (target === undefined) return undefined;
  const url = resolveServerUrl(target, current);
  if (url.origin !== current.origin) {
    throw new FerryError('REGISTRY_REFUSED', `${redactUrl(current)} continues its list on another host`);
  }
  return url;
}
