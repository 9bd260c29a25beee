/**
 * The pages for people: channels, packages, archives. They are made on the server out of what the channels say, load nothing
 * and run nothing, and take every text as what somebody may have chosen to do harm.
 */
import { Hono } from 'hono';
import { digestHex, digestOf } from '../../io/digest.js';
import { formatPage, headerPolicy } from '../../io/html.js';
import { escapeMarkup } from '../../io/escape-markup.js';
import { ByteBudget } from '../../io/byte-budget.js';
import { withDeadline } from '../../io/deadline.js';
import type { ServedChannel } from '../channels/served-channel.js';
import { archivePage, type ReadShownInfo } from './archive-page.js';
import { channelPage } from './channel-page.js';
import { homePage } from './home-page.js';
import { absentPage, expectFerryError, failedPage } from './notices.js';
import { packagePage, type DescribeArtifact } from './package-page.js';
import {
  channelHref,
  channelParts,
  channelTitle,
  link,
  packageHref,
  PAGES,
  type Page,
  type PageRequest,
  type Step,
} from './page.js';
import { PAGES_STYLE } from './pages-style.js';

/** What the pages are made from. */
export interface PagesOptions {
  /** All channels, asked anew for each page. */
  readonly channels: () => readonly ServedChannel[];
  /** Reads what is shown of an archive's `info/`, such as with `readStoredInfo`. */
  readonly readInfo: ReadShownInfo;
  /** Tells where the artifact of an archive stands, such as with `describeArtifact`. @defaultValue nothing is said */
  readonly describeArtifact?: DescribeArtifact | undefined;
  /** Where clients reach the server, for commands: `https://conda.example.org`; nothing but the path of the request is trusted. */
  readonly baseUrl: (request: Request) => string;
  readonly toolVersion: string;
  /** How long a page waits for what is inside an archive, in milliseconds. @defaultValue 10 seconds */
  readonly readLimitMs?: number | undefined;
}

/** How long a page counts as fresh, in seconds. */
const MAX_AGE_SECONDS = 15;
/** When to ask again for what cannot be read. */
const RETRY_SECONDS = 30;
/** Reading the contents of an archive takes some megabytes: so many at once. */
const MAX_READERS = 4;
/** A page without the contents is worth more than one that does not come. */
const READ_LIMIT_MS = 10_000;

const POLICY = headerPolicy(PAGES_STYLE);

/** What a path asks for. */
type Target =
  | { readonly kind: 'home' }
  | { readonly kind: 'channel'; readonly channel: ServedChannel }
  | { readonly kind: 'channel-without-slash'; readonly channel: ServedChannel }
  | {
      readonly kind: 'page';
      readonly channel: ServedChannel;
      readonly parts: readonly string[];
    };

/**
 * Makes the routes of the pages: `/`, `/<channel>/` for those who accept HTML, `/<channel>/-/<package>` and
 * `/<channel>/-/<package>/<subdir>/<filename>`. What is none of these is passed on to the routes behind them; where there are
 * none, as in `fetch` of what is returned, a page says that it is not found.
 */
export function createPages(options: PagesOptions): Hono {
  const readers = new ByteBudget(MAX_READERS);
  const { readLimitMs = READ_LIMIT_MS } = options;
  const readInfo: ReadShownInfo = (channel, subdir, filename, info) =>
    withDeadline(readLimitMs, info.signal ?? new AbortController().signal, async (signal) => {
      using _ = await readers.take(1, { signal });
      return await options.readInfo(channel, subdir, filename, { ...info, signal });
    });
  const pages = new Hono();
  pages.get('*', async (context, next) => {
    const { raw } = context.req;
    const url = new URL(raw.url);
    const target = targetOf(url.pathname, options.channels());
    if (target === undefined || (needsHtml(target) && !acceptsHtml(raw))) {
      await next();
      return;
    }
    // Relative, as all links: whoever stands in front may have cut the path.
    if (target.kind === 'channel-without-slash') {
      const last = url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
      return new Response(null, { status: 307, headers: { location: `./${last}/`, vary: 'Accept' } });
    }
    const request: PageRequest = {
      up: upFrom(url.pathname),
      baseUrl: new URL(options.baseUrl(raw)).href.replace(/\/+$/, ''),
      query: url.searchParams,
      signal: raw.signal,
    };
    const page = await makePage(request, target, { ...options, readInfo });
    return answer(raw, request, page, options.toolVersion);
  });
  pages.notFound((context) => {
    const { raw } = context.req;
    const up = upFrom(new URL(raw.url).pathname);
    const request = { up, baseUrl: '', query: new URLSearchParams(), signal: undefined };
    const page = absentPage('There is nothing at this address.', [home({ up }), step('Not found')]);
    return answer(raw, request, page, options.toolVersion);
  });
  return pages;
}

/** The way from a path up to the root: as many steps as browsers see folders in it. */
function upFrom(pathname: string): string {
  return '../'.repeat(pathname.split('/').length - 2) || './';
}

function targetOf(pathname: string, channels: readonly ServedChannel[]): Target | undefined {
  if (pathname === '/') return { kind: 'home' };
  const parts = decodeParts(pathname);
  if (parts === undefined) return undefined;
  // The longest: what stands below a label stands below its channel, too.
  const channel = channels
    .filter((candidate) => channelParts(candidate).every((part, index) => part === parts[index]))
    .sort((a, b) => channelParts(b).length - channelParts(a).length)[0];
  if (channel === undefined) return undefined;
  const rest = parts.slice(channelParts(channel).length);
  if (rest.length === 0) return { kind: 'channel-without-slash', channel };
  if (rest.length === 1 && rest[0] === '') return { kind: 'channel', channel };
  return rest[0] === PAGES ? { kind: 'page', channel, parts: rest.slice(1) } : undefined;
}

function decodeParts(pathname: string): readonly string[] | undefined {
  try {
    return pathname.slice(1).split('/').map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

/** Clients ask for a channel's URL itself, too, and take whatever they get. */
function needsHtml({ kind }: Target): boolean {
  return kind === 'channel' || kind === 'channel-without-slash';
}

/** Clients accept anything; browsers name HTML. */
function acceptsHtml(request: Request): boolean {
  return /\btext\/html\b/i.test(request.headers.get('accept') ?? '');
}

async function makePage(
  request: PageRequest,
  target: Exclude<Target, { readonly kind: 'channel-without-slash' }>,
  options: PagesOptions,
): Promise<Page> {
  if (target.kind === 'home') return homePage(request, options.channels());
  const { channel } = target;
  const title = channelTitle(channel);
  const top = [home(request)];
  const inside = [...top, step(title, channelHref(request, channel))];
  const { readInfo, describeArtifact = () => undefined } = options;
  let trail: readonly Step[] = [...top, step(title)];
  try {
    if (target.kind === 'channel') return await channelPage(request, channel, trail);
    const [name = '', subdir, filename, ...more] = target.parts;
    if (subdir === undefined) {
      trail = [...inside, step(name)];
      return await packagePage(request, channel, name, { trail, describeArtifact });
    }
    trail = [...inside, step(name, packageHref(request, channel, name)), step(filename ?? subdir)];
    if (filename === undefined || more.length > 0)
      return absentPage('There is nothing at this address.', trail);
    const wanted = { name, subdir, filename };
    return await archivePage(request, channel, wanted, { trail, readInfo, describeArtifact });
  } catch (error) {
    return failedPage(title, expectFerryError(error), trail);
  }
}

function home(request: Pick<PageRequest, 'up'>): Step {
  return step('Channels', request.up);
}

function step(label: string, href?: string): Step {
  return { label, href };
}

function answer(raw: Request, request: PageRequest, page: Page, toolVersion: string): Response {
  const { status = 200, refreshSeconds } = page;
  const html = formatPage({
    title: `${page.title} – conda-ferry`,
    style: PAGES_STYLE,
    policies: 'in-headers',
    head:
      refreshSeconds === undefined ? [] : [`<meta http-equiv="refresh" content="${String(refreshSeconds)}">`],
    top: frame(page.trail),
    main: page.main,
    toolVersion,
  });
  const bytes = Buffer.from(html);
  const etag = `"${digestHex(digestOf(bytes)).slice(0, 32)}"`;
  const isLasting = status === 200 && refreshSeconds === undefined;
  const headers = {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': POLICY,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    vary: 'Accept',
    'cache-control': isLasting ? `max-age=${String(MAX_AGE_SECONDS)}` : 'no-store',
    ...(isLasting ? { etag } : {}),
    ...(status === 503 ? { 'retry-after': String(RETRY_SECONDS) } : {}),
  };
  if (isLasting && isKnown(raw, etag)) return new Response(null, { status: 304, headers });
  return new Response(bytes, {
    status,
    headers: { ...headers, 'content-length': String(bytes.byteLength) },
  });
}

/** @see RFC 9110, section 13.1.2: a comparison in which `W/` does not count */
function isKnown(raw: Request, etag: string): boolean {
  const known = raw.headers.get('if-none-match')?.split(',') ?? [];
  return known.some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

/** What stands above each page. */
function frame(trail: readonly Step[]): readonly string[] {
  const items = trail.map(({ label, href }, index) => {
    const isLast = index === trail.length - 1;
    const text = escapeMarkup(label);
    return isLast ? `<li aria-current="page">${text}</li>` : `<li>${link(href, text)}</li>`;
  });
  return [
    '<a class="skip" href="#main">Skip to the content</a>',
    ...(items.length === 0
      ? []
      : [
          '<header>',
          '<nav aria-label="Where you are">',
          '<ol class="trail">',
          ...items,
          '</ol>',
          '</nav>',
          '</header>',
        ]),
  ];
}
