import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serveChannel, type ChannelServer } from '../channel-server.js';
import { FIXTURE_CHANNEL, HAS_REAL_CHANNELS, realChannel } from '../channels.js';
import { startRegistry } from '../docker-registry.js';
import { runFerry } from '../ferry-here.js';
import { startGateway, type Gateway } from '../gateway.js';
import { writeToolsChannel } from './tools-channel.js';

/** Where the channels are that a gateway serves. */
export const STORES = ['docker-registry', 'layout'] as const;
export type Store = (typeof STORES)[number];

/** The channels by the names they are served under, with the subdirs they have. */
export const CHANNELS: Readonly<Record<string, readonly string[]>> = {
  tools: ['linux-64', 'noarch'],
  ferry: ['linux-64', 'noarch', 'osx-arm64'],
  ...(HAS_REAL_CHANNELS ? { recipes: ['linux-fake', 'noarch', 'osx-fake', 'win-fake'] } : {}),
};

/** `<name>/<subdir>` of all that is served. */
export const SUBDIRS: readonly string[] = Object.entries(CHANNELS).flatMap(([name, subdirs]) =>
  subdirs.map((subdir) => `${name}/${subdir}`),
);

/** The same channels from their folders, and from gateways over both kinds of store. */
export interface ServedStores extends AsyncDisposable {
  /** Goes away with all of this. */
  readonly folder: string;
  /** Servers of the folders that the channels were mirrored from. */
  readonly sources: Readonly<Record<string, ChannelServer>>;
  readonly gateways: Readonly<Record<Store, Gateway>>;
}

/** Mirrors the channels into both kinds of store, and serves each with all of its channels under one root. */
export async function serveStores(): Promise<ServedStores> {
  const folder = await mkdtemp(join(tmpdir(), 'ferry-clients-'));
  const running: AsyncDisposable[] = [];
  const stop = async (): Promise<void> => {
    for (const one of running.splice(0).reverse()) await one[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return { ...(await start(folder, running)), [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(
  folder: string,
  running: AsyncDisposable[],
): Promise<Omit<ServedStores, typeof Symbol.asyncDispose>> {
  const use = <T extends AsyncDisposable>(one: T): T => {
    running.push(one);
    return one;
  };
  const registry = use(await startRegistry());
  const folders: Record<string, string> = { tools: join(folder, 'tools'), ferry: FIXTURE_CHANNEL };
  if (HAS_REAL_CHANNELS) folders['recipes'] = realChannel('test-recipes');
  await writeToolsChannel(join(folder, 'tools'));
  const placeOf: Readonly<Record<Store, (name: string) => string>> = {
    'docker-registry': (name) => `oci://${registry.host}/${registry.prefix}/${name}`,
    layout: (name) => `oci-layout:${join(folder, 'layout', name)}`,
  };
  const gateways: Partial<Record<Store, Gateway>> = {};
  for (const store of STORES) {
    for (const [name, source] of Object.entries(folders)) {
      const { code, stderr } = await runFerry(['mirror', source, placeOf[store](name), '--quiet']);
      if (code !== 0) throw new Error(stderr);
    }
    const served = Object.keys(folders).map((name) => `${name}=${placeOf[store](name)}`);
    gateways[store] = use(await startGateway(served));
  }
  const sources: Record<string, ChannelServer> = {};
  for (const [name, source] of Object.entries(folders)) sources[name] = use(await serveChannel(source));
  return { folder, sources, gateways: gateways as Record<Store, Gateway> };
}
