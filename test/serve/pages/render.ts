import { expect } from 'vitest';
import type { ServedChannel } from '#ferry/serve/channels/served-channel.js';
import { createPages, type PagesOptions } from '#ferry/serve/pages/pages.js';
import { expectBalanced, tokenize, type Token } from '../../conformance/reports/markup.js';

const DOCTYPE = '<!doctype html>\n';
/** Where the pages are reached. */
export const BASE_URL = 'http://127.0.0.1:8000';

/** A page that came, taken apart. */
export interface Rendered {
  readonly status: number;
  readonly headers: Headers;
  readonly html: string;
  readonly tokens: readonly Token[];
}

/** Asks for a page as a browser does. */
export async function ask(
  path: string,
  channels: readonly ServedChannel[],
  options: Partial<PagesOptions> & { readonly headers?: Readonly<Record<string, string>> } = {},
): Promise<Response> {
  const { headers = { accept: 'text/html,*/*;q=0.8' }, ...others } = options;
  const pages = createPages({
    channels: () => channels,
    readInfo: () => Promise.resolve(undefined),
    baseUrl: () => BASE_URL,
    toolVersion: '1.2.3',
    ...others,
  });
  return pages.fetch(new Request(`${BASE_URL}${path}`, { headers }));
}

/** Asks for a page, and makes sure that it is well-formed. */
export async function render(...args: Parameters<typeof ask>): Promise<Rendered> {
  const response = await ask(...args);
  const html = await response.text();
  expect(html.startsWith(DOCTYPE)).toBe(true);
  const tokens = tokenize(html.slice(DOCTYPE.length));
  expectBalanced(tokens, ['meta', 'br', 'input']);
  return { status: response.status, headers: response.headers, html, tokens };
}
