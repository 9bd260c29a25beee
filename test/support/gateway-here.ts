import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { HttpChannel } from '#ferry/channel/http-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { openHttpClient, type HttpClientOptions } from '#ferry/http/client.js';
import { openBlobFolder } from '#ferry/image-layout/blob-folder.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import type { BlobFolder } from '#ferry/oci/blob-folder.js';
import { RegistryClient } from '#ferry/registry/registry-client.js';
import { ContentCache } from '#ferry/serve/cache/content-cache.js';
import type { DeliveryMode } from '#ferry/serve/archives/archive-desk.js';
import type { RefreshTimes } from '#ferry/serve/channels/refreshed.js';
import type { MakeShards } from '#ferry/serve/channels/subdir-generation.js';
import { createGateway, type Gateway } from '#ferry/serve/gateway.js';
import { listen } from '#ferry/serve/listen/listener.js';
import { createShardMaker } from '#ferry/serve/shards/shard-maker.js';
import { tempFolder } from './temp.js';
import { workers } from './workers.js';

/** Opens a channel under a label. */
type OpenChannel = (label: string | undefined) => ChannelSource | undefined;

/** How a gateway of a test differs from the command's. */
export interface GatewayHereOptions {
  /** @defaultValue everything within a second, so that no test waits long for what never comes */
  readonly times?: Partial<RefreshTimes>;
  /** @defaultValue 100 MB */
  readonly cacheBytes?: number;
  /** @defaultValue a folder of its own */
  readonly blobFolder?: BlobFolder;
  /** @defaultValue as the command makes them */
  readonly makeShards?: (make: MakeShards) => MakeShards;
  /** @defaultValue `proxy`: all bytes pass through */
  readonly mode?: DeliveryMode;
}

/** A gateway of this process, bound to a socket. */
export interface GatewayHere {
  /** Such as `http://127.0.0.1:34567`. */
  readonly url: string;
  readonly gateway: Gateway;
  readonly cache: ContentCache;
  /** Where its temporary files are. */
  readonly tempPath: string;
  readonly cachePath: string;
  /** Lets time pass for what is known of the channels. */
  later(ms: number): void;
  /** What handlers failed with, instead of answering. */
  readonly failures: unknown[];
}

/** So short that a test may wait for its end. */
export const QUICK_TIMES: RefreshTimes = {
  freshMs: 60_000,
  patienceMs: 300,
  firstMs: 1500,
  retryMs: 0,
  limitMs: 5000,
};

/** Starts a gateway; it goes away with the test. Nothing is asked before the first request. */
export async function gatewayHere(
  channels: Readonly<Record<string, OpenChannel>>,
  options: GatewayHereOptions = {},
): Promise<GatewayHere> {
  const folder = await tempFolder();
  const cachePath = join(folder, 'cache');
  const temp = await TempFolder.create(await mkdtemp(join(folder, 'temp-')));
  const blobs = options.blobFolder ?? openBlobFolder(cachePath);
  const cache = await ContentCache.open(blobs, { maxBytes: options.cacheBytes ?? 100_000_000 });
  const stopping = new AbortController();
  const failures: unknown[] = [];
  let passedMs = 0;
  const gateway = createGateway({
    channels: Object.entries(channels).map(([name, open]) => ({ name, open })),
    cache,
    temp,
    workers,
    mode: options.mode ?? 'proxy',
    now: () => Date.now() + passedMs,
    times: { ...QUICK_TIMES, ...options.times },
    makeShards: (options.makeShards ?? ((make) => make))(createShardMaker(temp, stopping.signal)),
    toolVersion: '0.0.0',
  });
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    fetch: (request) => gateway.fetch(request),
    reporter: { failed: ({ error }) => failures.push(error) },
  });
  onTestFinished(async () => {
    await listener.close(0);
    stopping.abort();
    await gateway[Symbol.asyncDispose]();
    await cache[Symbol.asyncDispose]();
    await temp[Symbol.asyncDispose]();
  });
  const { url } = listener;
  return {
    ...{ url, gateway, cache, cachePath, failures, tempPath: temp.path },
    later: (ms) => (passedMs += ms),
  };
}

/** A client as impatient as the gateway's, with times that a test can wait for. */
function impatientClient(options: Partial<HttpClientOptions> = {}): ReturnType<typeof openHttpClient> {
  const client = openHttpClient({
    userAgent: 'conda-ferry-test',
    maxAttempts: 2,
    maxWaitMs: 100,
    timeouts: { headersMs: 400, bodyMs: 400, windowMs: 800 },
    ...options,
  });
  onTestFinished(async () => client[Symbol.asyncDispose]());
  return client;
}

/** A channel in a registry, by schema v0. */
export function registryChannel(
  host: string,
  path: string,
  options: Partial<HttpClientOptions> = {},
): OpenChannel {
  const { send } = impatientClient(options);
  const registry = new RegistryClient({ host, send });
  return (label) => new OciChannel(new ChannelStore(registry, path, schemaV0, label));
}

/** A channel in a folder of image layouts, by schema v0. */
export function layoutChannel(folder: string): OpenChannel {
  const registry = openLayoutRegistry(folder);
  return (label) => new OciChannel(new ChannelStore(registry, '', schemaV0, label));
}

/** A channel on a web server. */
export function webChannel(url: string, options: Partial<HttpClientOptions> = {}): OpenChannel {
  const { send } = impatientClient(options);
  return (label) => new HttpChannel(new URL(label === undefined ? url : `${url}/label/${label}`), send);
}

/** A channel in a folder. */
export function folderChannel(folder: string): OpenChannel {
  return (label) => new DirectoryChannel(label === undefined ? folder : join(folder, 'label', label));
}
