/**
 * The gateway: channels of any kind, served to conda clients of any age, as requests and responses. What is bound to a socket is
 * `listen/`; what clients of OCI registries ask is `distribution/`; what people look at is `pages/`.
 */
import { join } from 'node:path/posix';
import { Hono } from 'hono';
import type { ChannelStore } from '../artifact/channel-store.js';
import type { ContentCache } from './cache/content-cache.js';
import { ArchiveDesk, type ArchiveDeskOptions } from './archives/archive-desk.js';
import { ChannelSet, type OfferedChannel } from './channels/channel-set.js';
import type { GatewayChannel, GatewayChannelOptions } from './channels/gateway-channel.js';
import type { ServedChannel } from './channels/served-channel.js';
import { createDistributionRoutes } from './distribution/distribution-routes.js';
import { noteAnswer, type RouteClass } from './listen/answer-note.js';
import { createPages } from './pages/pages.js';
import { readArchiveInfo } from './pages/read-archive-info.js';
import { describeArtifact, readStoredInfo } from './pages/read-info.js';
import { createChannelRoutes } from './routes/channel-routes.js';
import { createHealthRoutes } from './routes/health-routes.js';

/** Names that the gateway's own URLs begin with, so that no channel can have them. */
export const RESERVED_NAMES: ReadonlySet<string> = new Set([
  'v2',
  'token',
  't',
  'healthz',
  'readyz',
  'metrics',
]);

/** How long a page waits for what is in an archive, in milliseconds. */
const INFO_MS = 20_000;

/** What {@link createGateway} works with. */
export interface GatewayOptions
  extends
    Omit<GatewayChannelOptions, 'name' | 'label' | 'source'>,
    Pick<ArchiveDeskOptions, 'mode' | 'onGiven'> {
  readonly channels: readonly OfferedChannel[];
  readonly cache: ContentCache;
  /** Answers `/metrics`. @defaultValue there is no such page */
  readonly metrics?: (() => Promise<Response>) | undefined;
  /** Told what requests fail with. */
  readonly onFailed?: ((error: unknown) => void) | undefined;
  /** Where clients reach the gateway, such as `https://conda.example.org`. @defaultValue the address it listens on */
  readonly publicUrl?: string | undefined;
  /** Version of conda-ferry, for the pages. */
  readonly toolVersion: string;
}

/** Handlers with what they hold on to. */
export interface Gateway extends AsyncDisposable {
  readonly channels: ChannelSet;
  /** Answers a request. What fails is an answer too. */
  fetch(request: Request): Promise<Response>;
  /** Asks for what clients will ask for first, so that they need not wait. Failures are kept for those who ask. */
  warmUp(signal?: AbortSignal): Promise<void>;
}

/** Makes a gateway. It is to be disposed of when no request is under way any more. */
export function createGateway(options: GatewayOptions): Gateway {
  const { cache, mode, temp, onGiven, metrics } = options;
  const channels = new ChannelSet(options.channels, options);
  const desk = new ArchiveDesk({
    ...{ mode, temp, onGiven, patienceMs: options.times.firstMs },
    content: (origin, signal) => cache.get(origin, { signal }),
    cached: (digest) => cache.find(digest),
  });
  const health = createHealthRoutes(channels);
  const answerForChannels = createChannelRoutes({
    ...{ channels, desk, now: options.now, onFailed: options.onFailed },
    maxAgeSeconds: Math.ceil(options.times.freshMs / 1000),
  });

  const app = new Hono({ strict: true });
  app.route(
    '/',
    createDistributionRoutes({
      resolveRepository: (name) => resolveRepository(channels, name),
      content: (origin, { signal }) => cache.get(origin, { signal }),
    }),
  );
  app.all('*', async (context, next) => {
    const { method } = context.req;
    if (method !== 'GET' && method !== 'HEAD')
      return new Response('only GET and HEAD are answered\n', {
        status: 405,
        headers: { allow: 'GET, HEAD' },
      });
    const answer = health(context.req.path);
    if (answer !== undefined) return answer;
    return context.req.path === '/metrics' && metrics !== undefined ? metrics() : next();
  });
  app.route(
    '/',
    createPages({
      channels: () => channels.all(),
      readInfo: async (channel, subdir, filename, wanted) => {
        const opened = channels.get(channel.name, channel.label);
        if (opened === undefined) return undefined;
        if (opened.store !== undefined) return readStoredInfo(opened.store, subdir, filename, wanted);
        const signal = wanted.signal ?? AbortSignal.timeout(INFO_MS);
        const given = await desk.archive(opened, subdir, filename, { isHead: false, signal });
        if (given.kind === 'content') return readArchiveInfo(given.content, filename, { temp, signal });
        if (given.kind === 'held') await given.content.release();
        return undefined;
      },
      describeArtifact: (channel, subdir, filename) => {
        const store = storeOf(channels, channel);
        return store && describeArtifact(store, subdir, filename);
      },
      baseUrl: (request) => options.publicUrl ?? new URL(request.url).origin,
      toolVersion: options.toolVersion,
    }),
  );
  app.notFound(() => new Response('there is nothing here\n', { status: 404 }));

  return {
    channels,
    // What clients ask for most does not pass by all other routes.
    fetch: async (request) => {
      const path = pathOf(request.url);
      if (request.method === 'GET' || request.method === 'HEAD') {
        const answer = await answerForChannels(request, path);
        if (answer !== undefined) return answer;
      }
      const answer = await app.fetch(request);
      // Here and not where it was made: for HEAD the router makes another one.
      return noteAnswer(answer, { route: routeOf(path, answer.status) });
    },
    warmUp: async (signal) => {
      await Promise.all(channels.all().map((channel) => warmUp(channel, signal)));
    },
    [Symbol.asyncDispose]: () => channels.close(),
  };
}

async function warmUp(channel: GatewayChannel, signal: AbortSignal | undefined): Promise<void> {
  try {
    await channel.generation('noarch', { signal });
    await channel.subdirs({ signal });
  } catch {
    // Whoever asks is told.
  }
}

/** What an answer was about that was about no file of a channel. */
function routeOf(path: string, status: number): RouteClass {
  if (/^\/(?:v2(?:\/|$)|token$)/.test(path)) return 'registry';
  if (path === '/healthz' || path === '/readyz') return 'health';
  if (status === 404 || status === 405) return 'other';
  return path === '/metrics' ? 'metrics' : 'page';
}

/** `/v2/<channel>/<rest>` is `<rest>` below the channel's own path in its registry. */
function resolveRepository(channels: ChannelSet, name: string): ReturnType<typeof repositoryOf> {
  const slash = name.indexOf('/');
  if (slash < 0) return undefined;
  const channel = channels.get(name.slice(0, slash), undefined);
  return channel && repositoryOf(channel, name.slice(slash + 1));
}

function repositoryOf(channel: GatewayChannel, rest: string) {
  const { store } = channel;
  if (store === undefined) return undefined;
  const leaf = rest.slice(rest.lastIndexOf('/') + 1);
  // Clients probe for files that a channel may do without by the repositories they would have.
  const isPackage = store.schema.readLeaf(leaf).kind === 'package' && !/\.(?:json|zst)$/.test(leaf);
  const isRepodata = leaf === store.schema.metadataRepository('repodata.json');
  // What was there and is refused now is no absence.
  const isOptional = isRepodata
    ? (signal: AbortSignal) =>
        channel.mayLackRepodata(rest.slice(0, Math.max(0, rest.length - leaf.length - 1)), signal)
    : !isPackage;
  return { repository: store.registry.repository(join(store.path, rest)), isOptional };
}

function storeOf(channels: ChannelSet, { name, label }: ServedChannel): ChannelStore | undefined {
  return channels.get(name, label)?.store;
}

/** The path of a URL, without what a parser would make of it. */
function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('//') + 2);
  const end = url.search(/[?#]/);
  return start < 0 ? '/' : url.slice(start, end < 0 ? undefined : end);
}
