import { FerryError } from '../errors.js';
import { findLink } from '../http/link.js';
import { resolveServerUrl } from '../http/server-url.js';
import type { HttpResponse } from '../http/send.js';
import { redactUrl } from '../io/redact.js';

/** Largest page of any list, in bytes. */
export const MAX_PAGE_BYTES = 8 * 1024 * 1024;
/** A server that never ends its list must not keep us for ever. */
const MAX_PAGES = 10_000;
/** Nor fill our memory: the largest repositories that registries allow have 100,000 tags. */
const MAX_ENTRIES = 1_000_000;

/** Query keys that say where a page begins: Quay's own, and that of the specification. */
const CURSOR_KEYS = ['next_page', 'last'] as const;

/** What a page brought. */
export interface PageTaken<T> {
  /** Entries that no page had before. */
  readonly fresh: readonly T[];
  readonly next: URL | undefined;
}

/** Bounds of a {@link PageTrail}. */
export interface PageTrailOptions {
  /**
   * Path that all pages must be at or below, such as `/v2/org/zlib/`; one that ends in no slash stands for itself and
   * what is below it.
   */
  readonly within: string;
  /** Whether paths may have `%2F` and the like, which no path of the registry API has. @defaultValue false */
  readonly allowsEncoding?: boolean | undefined;
  /** @defaultValue 10,000 */
  readonly maxPages?: number | undefined;
  /** @defaultValue 1,000,000 */
  readonly maxEntries?: number | undefined;
}

/**
 * The way through a list in pages: where it goes on, and that it neither leaves its place nor goes in circles. The
 * `Link` header is all that counts; `last` of our own making would skip tags where the order is not lexical (GHCR).
 * @see distribution-spec v1.1.1, "Listing Tags"; GHSA-h7vf-4x9w-h99v, GHSA-298f-872v-2rcx
 */
export class PageTrail {
  readonly #first: URL;
  readonly #within: string;
  readonly #allowsEncoding: boolean;
  readonly #maxPages: number;
  readonly #maxEntries: number;
  readonly #visited = new Set<string>();
  readonly #cursors = new Set<string>();
  readonly #entries = new Set<string>();

  constructor(first: URL, options: PageTrailOptions) {
    this.#first = first;
    this.#within = options.within;
    this.#allowsEncoding = options.allowsEncoding ?? false;
    this.#maxPages = options.maxPages ?? MAX_PAGES;
    this.#maxEntries = options.maxEntries ?? MAX_ENTRIES;
    this.#visited.add(first.href);
  }

  /**
   * Takes a page's entries, and gives those that no page had before, with the URL of the next page.
   * @throws FerryError `REGISTRY_REFUSED` for a list that does not end, does not advance, or goes on somewhere else
   */
  take<T>(
    current: URL,
    response: HttpResponse,
    entries: readonly T[],
    keyOf: (entry: T) => string,
  ): PageTaken<T> {
    const fresh: T[] = [];
    for (const entry of entries) {
      const key = keyOf(entry);
      if (this.#entries.has(key)) continue;
      this.#entries.add(key);
      fresh.push(entry);
    }
    const next = this.#next(current, response);
    // A page of nothing but what was there: the server ignores where it was asked to go on, and would for ever.
    const isStuck = next !== undefined && entries.length > 0 && fresh.length === 0;
    if (isStuck || this.#entries.size > this.#maxEntries) throw this.#endless();
    return { fresh, next };
  }

  #next(current: URL, response: HttpResponse): URL | undefined {
    const target = findLink(response.header('link'), 'next');
    if (target === undefined) return undefined;
    const url = resolveServerUrl(target, current);
    url.hash = '';
    // An encoded slash or dot may be another path to the server than to us.
    const isPlain = this.#allowsEncoding || !url.pathname.includes('%');
    if (url.origin !== this.#first.origin || !isPlain || !isWithin(url.pathname, this.#within)) {
      const where = url.origin === this.#first.origin ? 'under another path' : 'on another host';
      throw new FerryError('REGISTRY_REFUSED', `${redactUrl(current)} continues its list ${where}`);
    }
    const cursor = cursorOf(url);
    const isKnown = this.#visited.has(url.href) || (cursor !== undefined && this.#cursors.has(cursor));
    if (isKnown || this.#visited.size >= this.#maxPages) throw this.#endless();
    this.#visited.add(url.href);
    if (cursor !== undefined) this.#cursors.add(cursor);
    return url;
  }

  #endless(): FerryError {
    return new FerryError('REGISTRY_REFUSED', `the list at ${redactUrl(this.#first)} does not end`);
  }
}

/** The same cursor under another URL is the same page. */
function cursorOf(url: URL): string | undefined {
  for (const key of CURSOR_KEYS) {
    const value = url.searchParams.get(key);
    if (value !== null) return `${key}=${value}`;
  }
  return undefined;
}

function isWithin(path: string, within: string): boolean {
  return path === within || path.startsWith(within.endsWith('/') ? within : `${within}/`);
}
