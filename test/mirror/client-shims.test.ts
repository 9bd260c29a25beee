import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { schemaV1 } from '#ferry/artifact/schema-v1.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import { check } from '#ferry/conformance/check.js';
import { CopyError, FerryError } from '#ferry/errors.js';
import { ensureClientShims } from '#ferry/artifact/client-shims.js';
import { MemoryRegistry } from '#ferry/oci/memory-store.js';
import { condaPackage } from '../../fixtures/build/archive.mjs';
import { writeChannel } from '../../fixtures/build/channel.mjs';
import { startRegistry, type TestRegistry } from '../support/docker-registry.js';
import { failingRegistry } from '../support/failing-registry.js';
import {
  ghcrStore,
  layoutStore,
  registryStore,
  startGhcr,
  writesOf,
  type StoreUnderTest,
} from '../support/stores.js';
import type { GhcrDouble } from '../support/double/ghcr.js';
import { tempFolder } from '../support/temp.js';
import { mirrorChannel } from '../support/workers.js';

const LEAF = 'repodata_shards.msgpack.zst';

let docker: TestRegistry;
let ghcr: GhcrDouble;
beforeAll(async () => {
  docker = await startRegistry();
  ghcr = await startGhcr();
});
afterAll(async () => {
  await docker[Symbol.asyncDispose]();
  await ghcr[Symbol.asyncDispose]();
});

async function channelFolder(): Promise<string> {
  const folder = await tempFolder();
  const index = { noarch: 'generic' };
  const archive = condaPackage({ name: 'aaa', version: '1.0', build: '0', subdir: 'noarch', index });
  await writeChannel(folder, { noarch: [archive] });
  return folder;
}

const kinds: readonly (readonly [string, () => Promise<() => StoreUnderTest>])[] = [
  ['docker-registry', () => Promise.resolve(() => registryStore(docker, 'shims'))],
  ['GHCR', () => Promise.resolve(() => ghcrStore(ghcr, 'shims'))],
  [
    'image layouts',
    async () => {
      const folder = await tempFolder();
      return () => layoutStore(folder);
    },
  ],
];

describe.each(kinds)('shims for clients at %s', (_kind, open) => {
  test('v0/K4: the repository of shards exists, with a shim and without latest', async () => {
    const view = await open();
    const { store } = view();
    await mirrorChannel({ source: new DirectoryChannel(await channelFolder()), destination: store });
    expect(await ensureClientShims(store, 'noarch')).toBe(true);
    const { store: later, reader, path } = view();
    const repository = later.packageRepository('noarch', { repository: LEAF });
    const tags: string[] = [];
    for await (const tag of repository.tags()) tags.push(tag);
    expect(tags).toEqual(['shim']);
    expect(await repository.resolve('latest')).toBeUndefined();
    const shim = await reader.manifest(`${path}noarch/${LEAF}`, 'shim');
    expect(shim?.artifactType).toBe('application/vnd.conda-ferry.shim.v1+json');
    expect(shim?.layers.map(({ mediaType, size }) => [mediaType, size])).toEqual([
      ['application/vnd.oci.empty.v1+json', 2],
    ]);
    const report = await check({ kind: 'channel', store: later }, { name: 'c', deep: true });
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(report.findings.filter(({ where }) => where.includes('shards'))).toEqual([]);
    expect(await new OciChannel(later).openMetadata(`noarch/${LEAF}`)).toEqual({ status: 'absent' });
    expect(await new OciChannel(later).subdirs()).toEqual(['noarch']);
  });

  test('a later run asks once, and not at all where the ledger knows', async () => {
    const view = await open();
    await ensureClientShims(view().store, 'linux-64');
    const second = view();
    expect(await ensureClientShims(second.store, 'linux-64')).toBe(true);
    expect(writesOf(second)).toEqual([]);
    if (_kind !== 'image layouts') {
      expect(second.requests).toEqual([`HEAD /v2/${second.path}linux-64/${LEAF}/manifests/shim`]);
    }
    const third = view();
    expect(await ensureClientShims(third.store, 'linux-64', { known: true })).toBe(true);
    expect(third.requests).toEqual([]);
  });
});

test('in schema v1 there are none', async () => {
  const registry = new MemoryRegistry();
  expect(await ensureClientShims(new ChannelStore(registry, 'c', schemaV1), 'noarch')).toBe(false);
  expect(await registry.repositories()).toEqual([]);
});

test('a destination that takes none is at fault', async () => {
  const registry = failingRegistry(new MemoryRegistry(), () => {
    throw new FerryError('DENIED', 'no');
  });
  const store = new ChannelStore(registry, 'c', schemaV0);
  await expect(ensureClientShims(store, 'noarch')).rejects.toBeInstanceOf(CopyError);
});

test('v0/D7: a package of that name is refused', () => {
  expect(() => schemaV0.placeOf({ name: LEAF, version: '1', build: '0' })).toThrow(
    /schema v0 keeps metadata under this name/,
  );
});
