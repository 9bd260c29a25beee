import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { migrateChannel } from '#ferry/mirror/migrate/migrate.js';
import type { MigrationReport } from '#ferry/mirror/migrate/report.js';
import { mirrorChannel } from '#ferry/mirror/mirror.js';
import { faultsOf, registryReader } from '../support/audit.js';
import { HAS_REAL_CHANNELS, realChannel } from '../support/channels.js';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { openRegistryPair, stateOf } from '../support/migration.js';
import { rattlerReads } from '../support/rattler.js';

// Archives that others built; they lie beside some checkouts and are no part of this project.
describe.runIf(HAS_REAL_CHANNELS)("conda's test recipes", () => {
  const SUBDIRS = ['noarch', 'linux-fake', 'osx-fake', 'win-fake'];
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry({ onDisk: true });
  });
  afterAll(async () => registry[Symbol.asyncDispose]());

  test('migrate without a byte of any archive, and the old channel is whole afterwards', async () => {
    const view = () => openRegistryPair(registry.host, registry.prefix);
    const old = (pair = view()) => new ChannelStore(pair.registry, `${pair.path}recipes`, schemaV0);
    const source = new DirectoryChannel(realChannel('test-recipes'));
    await mirrorChannel({ source, destination: old() });
    const before = await stateOf(view(), 'recipes');

    const pair = view();
    const destination = new ChannelStore(pair.registry, `${pair.path}recipes-v1`, schemaV1);
    const report = await migrateChannel({ source: old(pair), destination });
    expect(report.subdirs.reduce((sum, { migrated }) => sum + migrated, 0)).toBe(41);
    for (const { moved, failed } of report.subdirs)
      expect({ moved, failed }).toEqual({ moved: { archives: 0, bytes: 0 }, failed: [] });
    expect(pair.sent.filter(({ repository }) => !/(?:repodata\.json|mledger)$/.test(repository))).toEqual([]);
    // Neither was one read.
    expect(pair.requests.filter((request) => /^GET .*\/blobs\//.test(request)).length).toBe(
      2 * SUBDIRS.length,
    );

    expect(await stateOf(view(), 'recipes')).toEqual(before);
    const reader = registryReader(registry.host);
    for (const subdir of SUBDIRS)
      expect(await faultsOf(reader, `${registry.prefix}/recipes/${subdir}`)).toEqual([]);
  });

  test.runIf(process.platform === 'linux')('are still served to rattler from the old channel', async () => {
    const folder = realChannel('test-recipes');
    const [old, next] = ['oci://localhost:443/recipes', 'oci://localhost:443/recipes-v1'];
    const { ferry, fetched } = await rattlerReads(
      'recipes',
      ['noarch'],
      [
        ['mirror', folder, old],
        ['migrate', old, next, '--to', 'v1'],
      ],
    );
    const report = JSON.parse(ferry[1] ?? '') as MigrationReport;
    expect(report.subdirs.map(({ moved }) => moved.bytes)).toEqual([0, 0, 0, 0]);
    const repodata = JSON.parse(await readFile(join(folder, 'noarch', 'repodata.json'), 'utf8')) as {
      'packages.conda': Record<string, { sha256: string }>;
    };
    const wanted = Object.entries(repodata['packages.conda']).map(([name, { sha256 }]) => [name, sha256]);
    expect(Object.entries(fetched).sort()).toEqual(wanted.sort());
  });
});
