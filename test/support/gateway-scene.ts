import { afterAll, expect, onTestFinished } from 'vitest';
import { FIXTURE_CHANNEL } from './channels.js';
import { serveChannel } from './channel-server.js';
import { startRegistryDouble, type RegistryDouble } from './double/registry-double.js';
import { startFaultyLine, type FaultyLine } from './faulty-line.js';
import { gatewayHere, registryChannel, webChannel, type GatewayHere } from './gateway-here.js';
import { archivesOf, faultsOf, probeAll, truthOfFolder, untilNothing, type Truth } from './gateway-probe.js';
import { mirrorFolder, registryStore } from './stores.js';

/** The kinds of stores behind a line. */
export const STORES = ['registry', 'web'] as const;
/** Paths of all repodata. */
export const REPODATA = ['noarch', 'linux-64', 'osx-arm64'].map((subdir) => `/ch/${subdir}/repodata.json`);

/** The fixture channel, served as `ch`. */
export interface Scene {
  readonly line: FaultyLine;
  readonly served: GatewayHere;
  readonly truth: Truth;
  readonly archives: readonly string[];
}

let mirrored: Promise<RegistryDouble> | undefined;
afterAll(async () => (await mirrored)?.[Symbol.asyncDispose]());

/** A registry with the channel, filled once for all tests. */
async function fill(): Promise<RegistryDouble> {
  const registry = await startRegistryDouble();
  await mirrorFolder(FIXTURE_CHANNEL, registryStore({ host: registry.host, prefix: 'org' }, 'ch'));
  return registry;
}

/** A channel behind a line that can be broken, and a gateway at its other end. */
export async function sceneOf(kind: (typeof STORES)[number]): Promise<Scene> {
  const truth = await truthOfFolder(FIXTURE_CHANNEL, 'ch');
  const archives = archivesOf(truth);
  if (kind === 'registry') {
    const { host } = await (mirrored ??= fill());
    const line = await startFaultyLine(host);
    return { line, truth, archives, served: await gatewayHere({ ch: registryChannel(line.host, 'org/ch') }) };
  }
  const server = await serveChannel(FIXTURE_CHANNEL);
  onTestFinished(async () => server[Symbol.asyncDispose]());
  const line = await startFaultyLine(new URL(server.url).host);
  const served = await gatewayHere({ ch: webChannel(`http://${line.host}/channel`) });
  return { line, truth, archives, served };
}

/** Everything is right, soon after the store is. */
export async function expectRecovery({
  served,
  truth,
  archives,
}: Pick<Scene, 'served' | 'truth' | 'archives'>): Promise<void> {
  await untilNothing(async () => faultsOf(await probeAll(served.url, [...REPODATA, ...archives]), truth, []));
  expect(served.failures).toEqual([]);
}
