import type { ChannelSet } from '../channels/channel-set.js';

/** How one channel is, as `/readyz` tells it. */
interface ChannelHealth {
  readonly name: string;
  readonly readable: boolean;
  readonly subdirs: readonly {
    readonly subdir: string;
    /** When the state that is served was made. */
    readonly modified: string;
    readonly sharded: boolean;
  }[];
}

/**
 * Makes `/healthz`, which says that the process answers, and `/readyz`, which says 503 until each channel was readable once: an
 * outage later on is no reason to send clients elsewhere, as what was there last is still served. Neither asks the channels.
 */
export function createHealthRoutes(channels: ChannelSet): (pathname: string) => Response | undefined {
  return (pathname) => {
    if (pathname === '/healthz') return reply(200, { status: 'ok' });
    if (pathname !== '/readyz') return undefined;
    const all = channels.all().map((channel): ChannelHealth => ({
      name: channel.name,
      readable: channel.wasReadable,
      subdirs: Array.from(channel.known(), ({ subdir, modified, shards }) => ({
        ...{ subdir, modified: modified.toISOString(), sharded: shards !== undefined },
      })),
    }));
    const isReady = all.every(({ readable }) => readable);
    return reply(isReady ? 200 : 503, { status: isReady ? 'ready' : 'not ready', channels: all });
  };
}

function reply(status: number, document: object): Response {
  return new Response(`${JSON.stringify(document)}\n`, {
    status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  });
}
