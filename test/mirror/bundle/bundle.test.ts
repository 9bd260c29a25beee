import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readLedger } from '#ferry/artifact/ledger.js';
import { ChannelStore } from '#ferry/artifact/channel-store.js';
import { OciChannel } from '#ferry/artifact/oci-channel.js';
import { schemaV0 } from '#ferry/artifact/schema-v0.js';
import { DirectoryChannel } from '#ferry/channel/directory-channel.js';
import type { ChannelSource } from '#ferry/conda/channel-source.js';
import { openLayoutRegistry } from '#ferry/image-layout/layout-registry.js';
import { TempFolder } from '#ferry/io/temp-folder.js';
import { importBundle } from '#ferry/mirror/bundle/import-bundle.js';
import { readBundleManifest } from '#ferry/mirror/bundle/manifest.js';
import { planBundle, writeBundle } from '#ferry/mirror/bundle/write-bundle.js';
import type { MirrorReport } from '#ferry/mirror/report.js';
import { condaPackage, tarBz2Package } from '../../../fixtures/build/archive.mjs';
import { writeChannel } from '../../../fixtures/build/channel.mjs';
import { faultsOf, listedRecords, placeOf } from '../../support/audit.js';
import { startRegistry, type TestRegistry } from '../../support/docker-registry.js';
import {
  failuresOf,
  layoutStore,
  mirrorFolder,
  registryStore,
  writesOf,
  type StoreUnderTest,
} from '../../support/stores.js';
import { tempFolder } from '../../support/temp.js';
import { mirrorChannel } from '../../support/workers.js';

const about = (name: string, version: string) =>
  ({ name, version, build: '0', subdir: 'noarch', index: { noarch: 'generic' } }) as const;
const conda = (name: string, version: string, payload = 'hello\n') =>
  condaPackage({ ...about(name, version), payloadFiles: { 'share/hello': payload } });
const bz2 = (name: string, version: string) => tarBz2Package(about(name, version));

const BEFORE = [
  conda('a', '1'),
  conda('a', '2'),
  bz2('b', '1'),
  conda('gone', '1'),
  conda('c', '1', 'old\n'),
];
const AFTER = [
  conda('a', '1'),
  conda('a', '2'),
  conda('a', '3'),
  bz2('b', '1'),
  conda('b', '1'),
  conda('c', '1', 'new\n'),
  conda('new', '1'),
];

let registry: TestRegistry;
let temp: TempFolder;
/** The channel as it is now, and image layouts with all of it as it was. */
let channel: string;
let copy: string;
beforeAll(async () => {
  registry = await startRegistry();
  temp = await TempFolder.create();
  [channel, copy] = [join(temp.path, 'channel'), join(temp.path, 'copy')];
  await writeChannel(channel, { noarch: BEFORE });
  await using layouts = openLayoutRegistry(copy);
  await mirrorChannel({
    source: new DirectoryChannel(channel),
    destination: new ChannelStore(layouts, '', schemaV0),
  });
  await writeChannel(channel, { noarch: AFTER });
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await temp[Symbol.asyncDispose]();
});

let count = 0;
let folder: string;
let offline: string;
beforeEach(async () => {
  folder = await tempFolder();
  count += 1;
  offline = `offline-${count}`;
});

/** The first copy travels whole. */
async function importCopy(): Promise<void> {
  await mirrorChannel({ source: sourceOf(layoutStore(copy)), destination: open(offline).store });
}

function open(name: string): StoreUnderTest {
  return registryStore(registry, name);
}

function sourceOf({ store }: StoreUnderTest): ChannelSource {
  return new OciChannel(store);
}

async function bundled(
  source: ChannelSource = new DirectoryChannel(channel),
  previous: ChannelSource = sourceOf(layoutStore(copy)),
): Promise<MirrorReport> {
  return writeBundle({ source, destination: layoutStore(folder).store, folder, previous });
}

async function imported(name = offline): Promise<MirrorReport> {
  const bundle = (await readBundleManifest(folder))!;
  return importBundle({ source: sourceOf(layoutStore(folder)), destination: open(name).store, bundle });
}

/** Digests of all that a channel lists, and of its repodata. */
async function digestsOf(name: string): Promise<Record<string, string | undefined>> {
  const { reader, path } = open(name);
  const latest = await reader.manifest(`${path}noarch/repodata.json`, 'latest');
  const digests: Record<string, string | undefined> = { repodata: latest?.digest };
  for (const record of (await listedRecords(reader, `${path}noarch`)) ?? []) {
    const { repository, tag } = placeOf(`${path}noarch`, record);
    digests[record.filename] = (await reader.manifest(repository, tag))?.digest ?? 'not there';
  }
  return digests;
}

describe('a bundle', () => {
  test('over the air gap makes what a direct mirror makes, digest for digest', async () => {
    // Out of one registry, into another.
    await mirrorFolder(channel, open('online'));
    await importCopy();
    expect(failuresOf(await bundled(sourceOf(open('online'))))).toEqual({});
    const manifest = await readBundleManifest(folder);
    expect(manifest).toMatchObject({ bundle_version: 1, complete: true, schema: 'v0' });
    const { add, remove } = manifest!.subdirs['noarch']!;
    expect(add.map(({ filename }) => filename).sort()).toEqual([
      'a-3-0.conda',
      'b-1-0.conda',
      'c-1-0.conda',
      'new-1-0.conda',
    ]);
    expect(remove).toEqual(['gone-1-0.conda']);
    // Nothing that the earlier state has is carried, but for the twin that shares an artifact.
    const names = (await layoutStore(folder).store.registry.repositories())!;
    expect(names).toEqual([
      ...['noarch/a', 'noarch/b', 'noarch/c', 'noarch/new', 'noarch/repodata.json'],
      'noarch/repodata_shards.msgpack.zst',
    ]);
    await expect(readFile(join(folder, 'noarch', 'gone', 'index.json'))).rejects.toThrow();

    const report = await imported();
    expect(failuresOf(report)).toEqual({});
    expect(report.subdirs[0]).toMatchObject({ there: 3, added: 4, kept: 1, publishedAs: 'unchanged' });
    await mirrorFolder(channel, open(`direct-${count}`));
    const digests = await digestsOf(offline);
    expect(digests).toEqual(await digestsOf(`direct-${count}`));
    expect(Object.values(digests)).not.toContain('not there');
    expect(Object.keys(digests)).toHaveLength(1 + AFTER.length);
    expect(await faultsOf(open(offline).reader, `${open(offline).path}noarch`)).toEqual([]);
    // It is a mirror of the channel now, whatever it was filled from.
    const { role } = (await readLedger(open(offline).store, 'noarch'))!;
    expect(role).toEqual({ kind: 'mirror', source: sourceOf(open('online')).url });
  });

  test('is refused where the destination is in another state, before anything is written', async () => {
    await bundled();
    const other = await tempFolder();
    await writeChannel(other, { noarch: [conda('a', '1')] });
    await mirrorFolder(other, open(`other-${count}`));
    for (const name of ['other', 'nothing']) {
      const view = open(`${name}-${count}`);
      const bundle = (await readBundleManifest(folder))!;
      const options = { source: sourceOf(layoutStore(folder)), destination: view.store, bundle };
      await expect(importBundle(options)).rejects.toMatchObject({ code: 'BUNDLE_BASE_MISMATCH' });
      expect(writesOf(view)).toEqual([]);
    }
  });

  test('never lists what it does not have, and takes the rest when it is there', async () => {
    await importCopy();
    await bundled();
    const blob = (await readBundleManifest(folder))!.subdirs['noarch']!.add.find(
      ({ filename }) => filename === 'a-3-0.conda',
    )!;
    const path = join(folder, 'noarch', 'a', 'blobs', 'sha256', blob.identity.slice('sha256:'.length));
    const bytes = await readFile(path);
    await rm(path);
    expect(Object.keys(failuresOf(await imported()))).toEqual(['noarch/a-3-0.conda']);
    expect(await faultsOf(open(offline).reader, `${open(offline).path}noarch`)).toEqual([]);
    await writeFile(path, bytes);
    expect((await imported()).subdirs[0]).toMatchObject({ added: 1, failed: [] });
  });

  test('says beforehand what it would hold', async () => {
    const plan = await planBundle({
      source: new DirectoryChannel(channel),
      destination: layoutStore(folder).store,
      folder,
      previous: sourceOf(layoutStore(copy)),
    });
    const [planned] = plan.subdirs;
    if (planned?.status !== 'planned') throw new Error(planned?.status);
    expect(
      [...planned.plan.items()].flatMap(({ add }) => add.map(({ filename }) => filename)).sort(),
    ).toEqual(['a-3-0.conda', 'b-1-0.conda', 'c-1-0.conda', 'new-1-0.conda']);
    expect(await readBundleManifest(folder)).toBeUndefined();
  });

  test('that was killed is not imported, and is finished by the same command', async () => {
    await importCopy();
    const broken: ChannelSource = new DirectoryChannel(channel);
    const failing = Object.assign(Object.create(broken) as ChannelSource, {
      url: broken.url,
      openMetadata: (path: string) => broken.openMetadata(path),
      subdirs: () => broken.subdirs(),
      openArchive: async function* () {
        throw new Error('killed');
      },
    });
    await expect(bundled(failing)).rejects.toThrow('killed');
    await expect(imported()).rejects.toMatchObject({ code: 'BUNDLE_INVALID' });
    expect(failuresOf(await bundled(broken))).toEqual({});
    expect((await imported()).subdirs[0]).toMatchObject({ added: 4 });
  });

  test('does not go into a folder with something else in it', async () => {
    await bundled();
    await expect(bundled()).rejects.toMatchObject({ code: 'USAGE' });
    folder = copy;
    await expect(bundled()).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('imported a second time writes nothing, and the next one goes on from there', async () => {
    await importCopy();
    await bundled();
    await imported();
    const view = open(offline);
    const bundle = (await readBundleManifest(folder))!;
    await importBundle({ source: sourceOf(layoutStore(folder)), destination: view.store, bundle });
    expect(writesOf(view)).toEqual([]);

    // The destination itself may be the earlier state.
    folder = await tempFolder();
    await writeChannel(channel, { noarch: [...AFTER, conda('newer', '1')] });
    await bundled(new DirectoryChannel(channel), sourceOf(open(offline)));
    expect((await readBundleManifest(folder))!.subdirs['noarch']!.add).toHaveLength(1);
    expect((await imported()).subdirs[0]).toMatchObject({ there: 7, added: 1 });
  });
});
