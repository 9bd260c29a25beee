import { join } from 'node:path';
import { FerryError, isFerryError } from '../errors.js';
import { openBlobFolder } from '../image-layout/blob-folder.js';
import { quietSignal } from '../io/quiet-signal.js';
import { TempFolder } from '../io/temp-folder.js';
import { compressZstd } from '../io/zstd.js';
import { whenAborted } from '../io/when-aborted.js';
import type { DeliveryMode } from '../serve/archives/archive-desk.js';
import { ContentCache } from '../serve/cache/content-cache.js';
import { createGateway, type Gateway } from '../serve/gateway.js';
import { listen, type Listener } from '../serve/listen/listener.js';
import { createMetrics, type Metrics } from '../serve/metrics.js';
import { createShardMaker } from '../serve/shards/shard-maker.js';
import { cacheFolder, lockFolder } from './cache-folder.js';
import type { CommandContext } from './context.js';
import { keepHeapSmall } from './heap-growth.js';
import type { ListenAddress } from './listen-address.js';
import { formatStore, shownLocation } from './locations.js';
import type { LocationFlags } from './options.js';
import { printLine, say, type OutputFlags } from './output.js';
import { openPullThrough } from './pull-through.js';
import { openAccessLog, readAccessControl, readTls, type OpenAccessLog } from './serve-files.js';
import { hinted, listenHint } from './serve-hints.js';
import { offerChannel, parseServed, requireFolders, type ServedLocation } from './served-channels.js';
import { schemaOf, Session } from './session.js';
import { VERSION } from './version.js';

/** A failure is not asked about again for that long. */
const RETRY_MS = 5000;
/** Whoever asks for metadata gets what was there last after that long. */
const PATIENCE_MS = 3000;
/** Whoever asks for what nobody has seen yet waits for that long. */
const FIRST_MS = 25_000;
/** Taking 700 MB over a slow line takes its time; nobody waits for it. */
const LIMIT_MS = 10 * 60_000;

/** Flags of `serve`. */
export interface ServeFlags extends LocationFlags, Pick<OutputFlags, 'quiet' | 'verbose'> {
  readonly schema: string;
  readonly listen: ListenAddress;
  readonly publicUrl?: string;
  readonly upstream?: string;
  readonly store?: string;
  readonly refresh: number;
  readonly redirect?: boolean;
  readonly proxy?: boolean;
  readonly cacheDir?: string;
  readonly cacheSize: number;
  readonly tempDir?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly userFile?: string;
  readonly tokenFile?: string;
  readonly accessLog?: string;
  readonly maxConnections?: number;
  readonly grace: number;
}

/** Loads what would be loaded on use: a module that fails to load once, for want of a file handle, stays failed. */
async function loadAhead(): Promise<void> {
  await Promise.all([compressZstd(new Uint8Array(0), 1), import('piscina')]);
}

/** Serves channels until the command is asked to stop. @throws FerryError `USAGE`, `LISTEN_FAILED` and what keeps it from beginning */
export async function serveChannels(
  texts: readonly string[],
  flags: ServeFlags,
  context: CommandContext,
): Promise<void> {
  const { output, environment } = context;
  const { served, pulled } = parseServed(texts, flags);
  keepHeapSmall();
  await loadAhead();
  if (flags.redirect === true && flags.proxy === true)
    throw new FerryError('USAGE', '`--redirect` and `--proxy` do not go together', {
      hint: 'without either, it is decided for each archive',
    });
  schemaOf(flags.schema);
  await requireFolders(served);
  const tls = await readTls(flags);
  const mode: DeliveryMode = flags.redirect === true ? 'redirect' : flags.proxy === true ? 'proxy' : 'auto';
  const signal = quietSignal(context.signal);
  const talk = (line: string): void => {
    if (flags.quiet !== true) say(output, line);
  };

  const control = await readAccessControl(flags);
  const metrics = createMetrics();
  await using log = await openAccessLog(flags.accessLog, output);
  const openOptions = {
    isImpatient: true,
    onRequest: () => {
      metrics.upstream();
    },
  };
  await using session = new Session(context, flags, openOptions);
  await using temp = await TempFolder.create(flags.tempDir);
  const cacheDir = flags.cacheDir ?? join(cacheFolder(environment), 'serve');
  const opening = ContentCache.open(openBlobFolder(cacheDir), {
    maxBytes: flags.cacheSize,
    reporter: {
      troubled: (error) => {
        talk(`warning: the cache: ${messageFor(error)}`);
      },
    },
  });
  await using cache = await hinted(
    opening,
    'LAYOUT_INVALID',
    () => 'name a folder of its own with --cache-dir; it is made if need be',
  );
  const openPulled = { session, cache, lockFolder: lockFolder(environment), talk, tempDir: flags.tempDir };
  await using filling = pulled && (await openPullThrough(pulled, flags.schema, { ...openPulled, signal }));
  const failed = (error: unknown): void => {
    metrics.upstreamFailed(isFerryError(error) ? error.code : 'INTERNAL');
  };
  await using gateway = createGateway({
    ...{ mode, cache, temp, workers: session.workers, now: Date.now, publicUrl: flags.publicUrl },
    channels: served.map((channel) =>
      channel === pulled?.upstream && filling !== undefined
        ? filling.offered
        : offerChannel(channel, session, flags.schema),
    ),
    onGiven: (channel, subdir, record) => {
      if (channel.name === pulled?.upstream.name && channel.label === undefined)
        filling?.note(subdir, record);
    },
    times: {
      ...{ freshMs: flags.refresh, patienceMs: PATIENCE_MS, firstMs: FIRST_MS },
      ...{ retryMs: Math.min(RETRY_MS, flags.refresh), limitMs: LIMIT_MS },
    },
    makeShards: createShardMaker(temp, signal),
    onStale: (path, error) => {
      if (flags.verbose === true) talk(`warning: ${path}: ${messageFor(error)}`);
    },
    onFailed: failed,
    metrics: () => metrics.response(),
    toolVersion: VERSION,
  });
  const fetch = (request: Request): Promise<Response> => gateway.fetch(request);
  const listening = listen({
    ...{ ...flags.listen, tls, fetch: control === undefined ? fetch : control.guard(fetch) },
    ...(flags.maxConnections === undefined ? {} : { limits: { maxConnections: flags.maxConnections } }),
    reporter: {
      answered: (event) => {
        metrics.answered(event);
        log?.write(event);
      },
      failed: ({ method, target, error }) => {
        metrics.failed();
        talk(`error: ${method} ${shownLocation(target)}: ${messageFor(error)}`);
      },
      dropped: () => {
        metrics.dropped();
      },
    },
  });
  const listener = await hinted(listening, 'LISTEN_FAILED', listenHint);
  observe(metrics, { listener, cache, gateway, log });
  for (const line of announcement(served, listener, flags)) printLine(output, line);
  void gateway.warmUp(signal);
  await whenAborted(signal);
  talk('stopping');
  await listener.close(flags.grace);
  await filling?.close(flags.grace);
}

function announcement(
  served: readonly ServedLocation[],
  { url }: Listener,
  { publicUrl = url }: ServeFlags,
): readonly string[] {
  const width = Math.max(...served.map(({ name }) => name.length));
  const lines = served.map(
    ({ name, location }) => `  ${publicUrl}/${name}`.padEnd(publicUrl.length + width + 5) + shown(location),
  );
  const first = served[0]?.name ?? '';
  return [`serving at ${publicUrl}`, ...lines, `conda install -c ${publicUrl}/${first} PACKAGE`];
}

function shown(location: ServedLocation['location']): string {
  if (location.kind === 'web') return shownLocation(location.url.href);
  if (location.kind === 'folder') return location.path;
  return location.kind === 'layout' ? formatStore(location) : `${formatStore(location)}/${location.path}`;
}

function messageFor(error: unknown): string {
  if (isFerryError(error)) return `${error.message} [${error.code}]`;
  return error instanceof Error ? error.message : String(error);
}

/** Names where the metrics get what nobody tells them. */
function observe(
  metrics: Metrics,
  parts: {
    readonly listener: Listener;
    readonly cache: ContentCache;
    readonly gateway: Gateway;
    readonly log: OpenAccessLog | undefined;
  },
): void {
  const { listener, cache, gateway, log } = parts;
  metrics.observe({
    connections: () => listener.connections,
    cache: () => ({ ...cache.stats, entries: cache.stats.blobs }),
    generations: () =>
      gateway.channels.all().flatMap((channel) =>
        Array.from(channel.known(), ({ subdir, modified }) => ({
          ...{ channel: channel.name, subdir, modified, staleSince: channel.staleSince(subdir) },
        })),
      ),
    droppedLogLines: () => log?.dropped ?? 0,
  });
}
