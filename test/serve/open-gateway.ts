import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { openBlobFolder } from '#ferry/image-layout/blob-folder.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { ContentCache } from '#ferry/serve/cache/content-cache.js';
import { createGateway, type Gateway, type GatewayOptions } from '#ferry/serve/gateway.js';
import { createShardMaker } from '#ferry/serve/shards/shard-maker.js';
import { tempFolder } from '../support/temp.js';
import { workers } from '../support/workers.js';

/** What of a gateway a test may choose. */
export interface OpenGatewayOptions extends Partial<Pick<GatewayOptions, 'mode' | 'times' | 'now'>> {
  /** Channels by name: sources for each label, or the folder of an ordinary one. */
  readonly channels: Readonly<
    Record<string, string | ((label: string | undefined) => ChannelSource | undefined)>
  >;
}

/** A gateway without a socket, with ways to ask it. */
export interface OpenGateway {
  readonly gateway: Gateway;
  /** Asks for a path. */
  readonly get: (
    path: string,
    headers?: Readonly<Record<string, string>>,
    method?: string,
  ) => Promise<Response>;
  /** Asks until the answer is no 404, as for shards that are still being made. */
  readonly getMade: (path: string) => Promise<Response>;
}

const FRESH_MS = 30_000;

/** Opens a gateway whose cache and temporary files go with the test. */
export async function openGateway({ channels, ...rest }: OpenGatewayOptions): Promise<OpenGateway> {
  const folder = await tempFolder();
  const ending = new AbortController();
  const temp = await TempFolder.create(folder);
  const cache = await ContentCache.open(openBlobFolder(join(folder, 'cache')), { maxBytes: 2 ** 30 });
  const gateway = createGateway({
    mode: 'auto',
    now: Date.now,
    times: { freshMs: FRESH_MS, patienceMs: 3000, firstMs: 20_000, retryMs: 0, limitMs: 60_000 },
    ...rest,
    ...{ temp, cache, workers },
    channels: Object.entries(channels).map(([name, channel]) => ({
      name,
      open:
        typeof channel === 'string'
          ? (label) => new DirectoryChannel(label === undefined ? channel : join(channel, 'label', label))
          : channel,
    })),
    makeShards: createShardMaker(temp, ending.signal),
    toolVersion: '0.0.0',
  });
  onTestFinished(async () => {
    await gateway[Symbol.asyncDispose]();
    await cache[Symbol.asyncDispose]();
    await temp[Symbol.asyncDispose]();
  });
  const get: OpenGateway['get'] = async (path, headers = {}, method = 'GET') =>
    gateway.fetch(new Request(`http://127.0.0.1:8000${path}`, { headers, method }));
  return {
    gateway,
    get,
    getMade: async (path) => {
      for (;;) {
        const response = await get(path);
        if (response.status !== 404) return response;
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}
