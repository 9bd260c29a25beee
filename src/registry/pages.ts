import { z } from 'zod';
import { FerryError, ResponseError } from '../errors.js';
import { responseError } from '../http/response-error.js';
import type { Access, HttpRequest, HttpResponse, Send } from '../http/send.js';
import { collect } from '../io/bytes.js';
import { redactUrl } from '../io/redact.js';
import type { CallOptions } from '../oci/storage.js';
import { MAX_PAGE_BYTES, PageTrail, type PageTaken, type PageTrailOptions } from './page-trail.js';

/** Options of {@link listPages}. */
export interface ListOptions extends CallOptions, PageTrailOptions {
  /** Entries asked for at once, which the registry may ignore. */
  readonly pageSize: number;
  readonly access?: Access | undefined;
}

/**
 * Follows a paginated list (`tags`, `repositories`) by its `Link` headers, on the same origin and under the same path
 * only. Each entry comes once, in the order of the registry, which need not be lexical. Where the registry refuses the
 * page size it is asked once more without.
 * @throws FerryError `NOT_FOUND` and others by the answer, `REGISTRY_REFUSED` for a list that loops or is none
 * @see distribution-spec v1.1.1, "Listing Tags"
 */
export async function* listPages(
  send: Send,
  list: URL,
  key: 'tags' | 'repositories',
  options: ListOptions,
): AsyncGenerator<readonly string[]> {
  const ask = async (url: URL): Promise<HttpResponse> => {
    const { signal, access } = options;
    const request: HttpRequest = { method: 'GET', url, signal, access, bufferUpTo: MAX_PAGE_BYTES };
    const response = await send(request);
    if (response.status !== 200) throw await responseError(request, response);
    return response;
  };
  const first = new URL(list);
  first.searchParams.set('n', String(options.pageSize));
  const trail = new PageTrail(first, options);
  let page: URL | undefined = first;
  while (page !== undefined) {
    let response: HttpResponse;
    try {
      response = await ask(page);
    } catch (error) {
      if (page !== first || !isPageSizeRefused(error)) throw error;
      response = await ask(list);
    }
    const body = await collect(response.body, MAX_PAGE_BYTES, `list at ${redactUrl(page)}`);
    const taken: PageTaken<string> = trail.take(page, response, parsePage(body, key, page), (entry) => entry);
    yield taken.fresh;
    page = taken.next;
  }
}

/** ECR says UNSUPPORTED, distribution 3 PAGINATION_NUMBER_INVALID, others nothing but 400. */
function isPageSizeRefused(error: unknown): boolean {
  if (!(error instanceof ResponseError)) return false;
  if (error.status === 400) return true;
  return error.errors.some(({ code }) => code === 'UNSUPPORTED' || code === 'PAGINATION_NUMBER_INVALID');
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
