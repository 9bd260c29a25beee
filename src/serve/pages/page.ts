/** What the pages are written with: their frame, links, commands, lists of facts. Whatever is not called HTML is text. */
import { escapeMarkup } from '../../io/escape-markup.js';
import { formatMoment, formatNumber } from '../../io/figures.js';
import { unbroken } from '../../io/html.js';
import type { ServedChannel } from '../channels/served-channel.js';

/** A page, not yet in its frame. */
export interface Page {
  readonly title: string;
  /** Where it stands: each step but the last is a link. */
  readonly trail: readonly Step[];
  /** As HTML. */
  readonly main: readonly string[];
  /** @defaultValue 200 */
  readonly status?: number | undefined;
  /** The page comes again by itself after so many seconds. @defaultValue it stays */
  readonly refreshSeconds?: number | undefined;
}

/** A step of the way to a page. */
export interface Step {
  readonly label: string;
  readonly href: string | undefined;
}

/** What a page is asked for with. */
export interface PageRequest {
  /** The way up to the root of the server, such as `../../`: links work below any prefix and behind any token then. */
  readonly up: string;
  /** Of the server as clients reach it, without a slash at the end, for commands: `http://127.0.0.1:8000`. */
  readonly baseUrl: string;
  readonly query: URLSearchParams;
  readonly signal: AbortSignal | undefined;
}

/** Longest link that is made; no name that conda takes comes near. */
const MAX_HREF_LENGTH = 1500;

/**
 * A link to `parts`, below the root of the server.
 * @returns `undefined` for what no URL can hold as it is
 */
export function hrefOf(
  { up }: Pick<PageRequest, 'up'>,
  parts: readonly string[],
  query: Readonly<Record<string, string>> = {},
): string | undefined {
  // Browsers would resolve these.
  if (parts.slice(0, -1).includes('') || parts.some((part) => part === '.' || part === '..'))
    return undefined;
  try {
    const search = Object.entries(query).map(([key, value]) => `${key}=${encodeURIComponent(value)}`);
    const path = parts.map(encodeURIComponent).join('/');
    const href = `${up}${path}${search.length === 0 ? '' : '?'}${search.join('&')}`;
    return href.length > MAX_HREF_LENGTH ? undefined : href;
  } catch {
    // Half a character.
    return undefined;
  }
}

/** A link, or its text alone where there is no way to it. `html` is HTML. */
export function link(href: string | undefined, html: string, attributes = ''): string {
  return href === undefined ? html : `<a href="${escapeMarkup(href)}"${attributes}>${html}</a>`;
}

/** Of a channel, as it is called. */
export function channelTitle({ name, label }: ServedChannel): string {
  return label === undefined ? name : `${name}, label ${label}`;
}

/** The components of a channel's URLs, such as `conda-forge`, `label`, `dev`. */
export function channelParts({ name, label }: ServedChannel): readonly string[] {
  return label === undefined ? [name] : [name, 'label', ...label.split('/')];
}

/** The channel's page. */
export function channelHref(
  request: Pick<PageRequest, 'up'>,
  channel: ServedChannel,
  query?: Readonly<Record<string, string>>,
): string | undefined {
  return hrefOf(request, [...channelParts(channel), ''], query);
}

/**
 * What stands between a channel and its pages: no subdir and no file of a channel is called so, for all of these begin with a
 * letter, a digit or `_`. As with `label`, which no subdir is called either.
 * @see CEP 26
 */
export const PAGES = '-';

/** The page of a package. */
export function packageHref(
  request: Pick<PageRequest, 'up'>,
  channel: ServedChannel,
  name: string,
  query?: Readonly<Record<string, string>>,
): string | undefined {
  return name === '' ? undefined : hrefOf(request, [...channelParts(channel), PAGES, name], query);
}

/** The page of an archive. */
export function archiveHref(
  request: Pick<PageRequest, 'up'>,
  channel: ServedChannel,
  name: string,
  subdir: string,
  filename: string,
): string | undefined {
  return hrefOf(request, [...channelParts(channel), PAGES, name, subdir, filename]);
}

/** The archive itself. */
export function downloadHref(
  request: Pick<PageRequest, 'up'>,
  channel: ServedChannel,
  subdir: string,
  filename: string,
): string | undefined {
  return hrefOf(request, [...channelParts(channel), subdir, filename]);
}

/** Names and values, both as HTML; what is empty is left out. */
export function facts(rows: readonly (readonly [name: string, html: string])[]): readonly string[] {
  const shown = rows.filter(([, html]) => html !== '');
  if (shown.length === 0) return [];
  return ['<dl class="facts">', ...shown.map(([name, html]) => `<dt>${name}</dt><dd>${html}</dd>`), '</dl>'];
}

/** Text as code, or nothing for nothing. */
export function code(text: string | undefined): string {
  return text === undefined || text === '' ? '' : `<code>${escapeMarkup(text)}</code>`;
}

/** A moment; nothing where there is none, or one that no calendar has. */
export function moment(at: Date | number | undefined): string {
  const date = new Date(at ?? Number.NaN);
  if (Number.isNaN(date.getTime())) return '';
  const iso = date.toISOString();
  return `<time datetime="${iso}">${escapeMarkup(formatMoment(iso))}</time>`;
}

/** A count, on one line. */
export function number(value: number): string {
  return unbroken(formatNumber(value));
}

/** A column of a {@link table}. */
export interface Column {
  readonly head: string;
  /** Classes of its cells: `number` stands to the right, `wide` gets a line for itself on narrow screens. */
  readonly look?: string | undefined;
}

/**
 * A table, of which each row becomes a card on narrow screens. It says by roles what it is, for browsers take what is laid out
 * otherwise for no table.
 * @param caption HTML
 * @param rows cells, as HTML; the first of each names the row
 */
export function table(
  caption: string,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  look = '',
): readonly string[] {
  const attribute = (classes: readonly (string | undefined)[]): string => {
    const names = classes.filter((name) => name !== undefined && name !== '');
    return names.length === 0 ? '' : ` class="${names.join(' ')}"`;
  };
  const heads = columns.map(
    (column) => `<th role="columnheader" scope="col"${attribute([column.look])}>${column.head}</th>`,
  );
  const body = rows.map(([name = '', ...cells]) => {
    const others = cells.map((html, index) => {
      const column = columns[index + 1];
      const classes = attribute([column?.look, html === '' ? 'empty' : '']);
      return `<td role="cell"${classes} data-label="${column?.head ?? ''}">${html}</td>`;
    });
    return `<tr role="row"><th role="rowheader" scope="row">${name}</th>${others.join('')}</tr>`;
  });
  return [
    `<table role="table"${attribute(['cards', look])}>`,
    `<caption>${caption}</caption>`,
    `<thead role="rowgroup"><tr role="row">${heads.join('')}</tr></thead>`,
    '<tbody role="rowgroup">',
    ...body,
    '</tbody>',
    '</table>',
  ];
}

/** Lines of a text that are shown at most, and characters of it. */
const MAX_LINES = 1500;
const MAX_TEXT_LENGTH = 200_000;

/** A text of many lines as it is, cut where it is absurdly long. */
export function block(text: string): readonly string[] {
  const cut = text.length > MAX_TEXT_LENGTH ? text.slice(0, MAX_TEXT_LENGTH) : text;
  const lines = cut.split(/\r\n|\r|\n/);
  const shown = lines.slice(0, MAX_LINES).map((line) => escapeMarkup(line.replaceAll('\t', '    ')));
  const isCut = cut.length < text.length || shown.length < lines.length;
  return [
    `<pre><code>${shown.join('\n')}</code></pre>`,
    ...(isCut ? ['<p class="rest">There is more, which is not shown.</p>'] : []),
  ];
}

/** Links to the pages of a list that is cut into some. `hrefFor` counts from 1, as people do. */
export function pager(
  current: number,
  count: number,
  hrefFor: (page: number) => string | undefined,
): readonly string[] {
  if (count <= 1) return [];
  const step = (page: number, text: string, rel: string): string =>
    page < 1 || page > count ? '' : link(hrefFor(page), text, ` rel="${rel}"`);
  return [
    '<nav class="pager" aria-label="Pages of the list">',
    step(current - 1, 'Previous', 'prev'),
    `<span>Page ${number(current)} of ${number(count)}</span>`,
    step(current + 1, 'Next', 'next'),
    '</nav>',
  ];
}

/** The part of a list that a request asks for: `?page=2`. What is no page of it counts as the nearest. */
export function cutPage<T>(
  items: readonly T[],
  perPage: number,
  query: URLSearchParams,
): { readonly items: readonly T[]; readonly page: number; readonly pages: number } {
  const pages = Math.max(1, Math.ceil(items.length / perPage));
  const asked = Number(query.get('page') ?? 1);
  const page = Number.isSafeInteger(asked) ? Math.min(Math.max(1, asked), pages) : 1;
  return { items: items.slice((page - 1) * perPage, page * perPage), page, pages };
}
