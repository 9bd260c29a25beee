import { escapeMarkup } from '../../io/escape-markup.js';
import { count } from '../../io/figures.js';
import { unbroken } from '../../io/html.js';
import type { ServedChannel } from '../channels/served-channel.js';
import { readChannelState, type ChannelState, type PackageNames, type SubdirState } from './channel-state.js';
import { settings } from './commands.js';
import { failedPage, gaps, staleness, waitingPage } from './notices.js';
import {
  channelHref,
  channelTitle,
  code,
  cutPage,
  facts,
  link,
  moment,
  number,
  packageHref,
  pager,
  table,
  type Page,
  type PageRequest,
  type Step,
} from './page.js';

/** Names on one page. */
const NAMES_PER_PAGE = 300;
/** Names that a search finds at most: who is given more has to ask for something else anyway. */
const MAX_FOUND = 1500;
/** Longest text to search for, in characters: names are not longer than 64. */
const MAX_SEARCH_LENGTH = 100;

const SUBDIR_COLUMNS = [
  { head: 'Subdir' },
  { head: 'Packages', look: 'number' },
  { head: 'Archives', look: 'number' },
  { head: 'Last changed', look: 'wide' },
  { head: 'State', look: 'wide' },
] as const;

/** The page of a channel: its subdirs, and its packages by name, all of them or those that are searched for. */
export async function channelPage(
  request: PageRequest,
  channel: ServedChannel,
  trail: readonly Step[],
): Promise<Page> {
  const title = channelTitle(channel);
  const state = await readChannelState(channel, request.signal);
  const isWaiting = state?.subdirs.some(({ kind }) => kind === 'waiting') ?? true;
  const isReady = state?.subdirs.some(({ kind }) => kind === 'ready') ?? false;
  if (state === undefined || (isWaiting && !isReady)) return waitingPage(title, trail);
  const failed = state.subdirs.find((subdir) => subdir.kind === 'failed');
  if (failed !== undefined && !isReady) return failedPage(title, failed.error, trail);
  const search = searchOf(request);
  return {
    title: search === '' ? title : `${search} in ${title}`,
    trail,
    main: [
      `<h1>${escapeMarkup(title)}</h1>`,
      ...facts([['From', code(channel.location)]]),
      ...gaps(state.subdirs),
      ...searchForm(search),
      ...(search === ''
        ? allPackages(request, channel, state.names)
        : found(request, channel, state, search)),
      ...(search === ''
        ? [...subdirTable(state.subdirs), '<h2>Use it</h2>', ...settings(request, [channel])]
        : []),
    ],
  };
}

function searchOf({ query }: PageRequest): string {
  return (query.get('q') ?? '').trim().toLowerCase().slice(0, MAX_SEARCH_LENGTH);
}

function searchForm(search: string): readonly string[] {
  return [
    // To the same page, without what else was asked for.
    '<form role="search" method="get" action="./">',
    '<label for="q">Search by package name</label>',
    `<div><input type="search" id="q" name="q" value="${escapeMarkup(search)}" maxlength="${String(MAX_SEARCH_LENGTH)}" autocomplete="off" autocapitalize="none" spellcheck="false">`,
    '<button type="submit">Search</button></div>',
    '</form>',
  ];
}

function allPackages(request: PageRequest, channel: ServedChannel, names: PackageNames): readonly string[] {
  const all = [...names.keys()];
  const { items, page, pages } = cutPage(all, NAMES_PER_PAGE, request.query);
  const hrefFor = (wanted: number): string | undefined =>
    channelHref(request, channel, { page: String(wanted) });
  return [
    '<h2>Packages</h2>',
    `<p role="status">${unbroken(count(all.length, 'package'))}, by name.</p>`,
    ...(pages > 1 ? letters(all, hrefFor) : []),
    ...nameList(request, channel, items, names),
    ...pager(page, pages, hrefFor),
  ];
}

/** Links to where the names with each first letter begin. */
function letters(names: readonly string[], hrefFor: (page: number) => string | undefined): readonly string[] {
  const first = new Map<string, number>();
  names.forEach((name, index) => {
    const letter = letterOf(name);
    if (!first.has(letter)) first.set(letter, Math.floor(index / NAMES_PER_PAGE) + 1);
  });
  const links = [...first].map(([letter, page]) => {
    const shown = letter === '' ? 'other' : letter.toUpperCase();
    return `<li>${link(hrefFor(page), shown)}</li>`;
  });
  return ['<nav aria-label="By first letter">', '<ul class="letters">', ...links, '</ul>', '</nav>'];
}

function letterOf(name: string): string {
  return /^[a-z0-9_]/i.exec(name)?.[0].toLowerCase() ?? '';
}

function found(
  request: PageRequest,
  channel: ServedChannel,
  { names }: ChannelState,
  search: string,
): readonly string[] {
  const matches = searchNames(names.keys(), search);
  const { items, page, pages } = cutPage(matches.slice(0, MAX_FOUND), NAMES_PER_PAGE, request.query);
  const rest = matches.length > MAX_FOUND ? ` Only the first ${number(MAX_FOUND)} are shown.` : '';
  const back = link(channelHref(request, channel), 'All packages');
  return [
    '<h2>Found</h2>',
    `<p role="status">${unbroken(count(matches.length, 'package'))} with <q>${escapeMarkup(search)}</q> in the name.${rest} ${back}</p>`,
    ...nameList(request, channel, items, names),
    ...pager(page, pages, (wanted) => channelHref(request, channel, { q: search, page: String(wanted) })),
  ];
}

/** Names that contain what is searched for: the name itself first, then those that begin with it, then the others. */
export function searchNames(names: Iterable<string>, search: string): readonly string[] {
  const matches = [...names].map((name) => [name, name.toLowerCase()] as const);
  const isSame = matches.filter(([, lower]) => lower === search);
  const begins = matches.filter(([, lower]) => lower !== search && lower.startsWith(search));
  const contains = matches.filter(([, lower]) => !lower.startsWith(search) && lower.includes(search));
  return [...isSame, ...begins, ...contains].map(([name]) => name);
}

function nameList(
  request: PageRequest,
  channel: ServedChannel,
  items: readonly string[],
  names: PackageNames,
): readonly string[] {
  if (items.length === 0) return [];
  return [
    '<ul class="names">',
    ...items.map((name) => {
      const subdirs = (names.get(name) ?? []).map((subdir) => escapeMarkup(subdir)).join(', ');
      const shown = link(packageHref(request, channel, name), escapeMarkup(name));
      return `<li>${shown} <span class="dim">${subdirs}</span></li>`;
    }),
    '</ul>',
  ];
}

function subdirTable(subdirs: readonly SubdirState[]): readonly string[] {
  const rows = subdirs.map((state) => {
    const { subdir, generation } = state;
    const isReady = state.kind === 'ready';
    const stale = generation?.staleness;
    const words =
      state.kind === 'failed'
        ? `cannot be read: ${code(state.error.code)}`
        : state.kind === 'waiting'
          ? 'being read'
          : stale === undefined
            ? 'up to date'
            : staleness(stale);
    return [
      code(subdir),
      isReady ? number(state.shards.names.length) : '',
      isReady ? number(state.shards.recordCount) : '',
      moment(generation?.modified),
      words,
    ];
  });
  return ['<h2>Subdirs</h2>', ...table('What the channel holds for each platform', SUBDIR_COLUMNS, rows)];
}
